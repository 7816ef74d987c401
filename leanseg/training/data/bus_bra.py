"""BUS-BRA, breast ultrasound (Gomez-Flores et al., Medical Physics 2023): one image a patient, all with a lesion.

Folder: `images/`, `masks/`, `index.csv` with pathology and split (train, external_test163).
"""

from pathlib import Path

from leanseg.training.data.case import Case, check_groups, read_index


def read_cases(root: Path) -> list[Case]:
    """Every case, sorted by file name; the patient's number is the group."""
    cases = [
        Case(
            id=Path(row["file"]).stem,
            dataset="bus_bra",
            image=root / "images" / row["file"],
            mask=root / "masks" / row["file"],
            lesion_class=row["Pathology"],
            split=row["split"],
            group=row["Case"],
        )
        for row in read_index(root)
    ]
    check_groups(cases)
    return sorted(cases, key=lambda case: case.id)
