"""BUSI, breast ultrasound (Al-Dhabyani et al., Data in Brief 2020): benign, malignant, normal.

BUSI holds 133 groups of near-duplicates (`dup_group`); the index keeps each within one split. Splits: train, val, test.
"""

from pathlib import Path

from leanseg.training.data import case

LICENSE = "BUSI: the license of the images is not stated, the article is CC BY 4.0; cite Al-Dhabyani et al. 2020."


def read_cases(root: Path) -> list[case.Case]:
    """Raises what `case.read_cases` raises."""
    return case.read_cases(root, "busi", class_column="cls", group_column="dup_group")
