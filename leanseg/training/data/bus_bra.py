"""BUS-BRA, breast ultrasound (Gomez-Flores et al., Medical Physics 2023): one image a patient, all with a lesion.

The patient's number (`Case`) is the group. Splits: train, external_test163.
"""

from pathlib import Path

from leanseg.training.data import case

LICENSE = "BUS-BRA: own permissive license, citation required; cite Gomez-Flores et al. 2023."


def read_cases(root: Path) -> list[case.Case]:
    """Raises what `case.read_cases` raises."""
    return case.read_cases(root, "bus_bra", class_column="Pathology", group_column="Case")
