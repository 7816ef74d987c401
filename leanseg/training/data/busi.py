"""BUSI, breast ultrasound (Al-Dhabyani et al., Data in Brief 2020): benign, malignant, normal.

Folder: `images/`, `masks/` (merged), `index.csv` with class, near-duplicate group and split. BUSI holds 133
groups of near-duplicates; the index keeps each group within one split.
"""

from pathlib import Path

from leanseg.training.data.case import Case, check_groups, read_index


def read_cases(root: Path) -> list[Case]:
    """Every case, sorted by file name; splits are train, val and test."""
    cases = [
        Case(
            id=Path(row["file"]).stem,
            dataset="busi",
            image=root / "images" / row["file"],
            mask=root / "masks" / row["file"],
            lesion_class=row["cls"],
            split=row["split"],
            group=row["dup_group"] or row["file"],
        )
        for row in read_index(root)
    ]
    check_groups(cases)
    return sorted(cases, key=lambda case: case.id)
