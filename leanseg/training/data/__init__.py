"""Data sets by name, and how a recipe names a part of one: `busi:train`, or one class of it, `busi:train:normal`.

A part that is named twice is seen twice in each epoch.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.training.data import brats, bus_bra, busi
from leanseg.training.data.case import Case

DATASETS: dict[str, Callable[[Path], list[Case]]] = {
    "busi": busi.read_cases,
    "bus_bra": bus_bra.read_cases,
}
LICENSES = {"brats": brats.LICENSE, "busi": busi.LICENSE, "bus_bra": bus_bra.LICENSE}
"""What a card says of the data that a model was trained on."""


def data_root(given: Path | None = None) -> Path:
    """The folder that holds one folder for each data set: `given`, else the environment's LEANSEG_DATA.

    Raises:
        LeanSegError: neither is set.
    """
    if given is not None:
        return given
    if "LEANSEG_DATA" not in os.environ:
        raise LeanSegError("No data folder is known. Set LEANSEG_DATA to it, or give --data DIR.")
    return Path(os.environ["LEANSEG_DATA"])


def select_cases(parts: Iterable[str], root: Path, classes: Iterable[str]) -> list[Case]:
    """Cases of parts such as `busi:train`, restricted to lesion classes.

    Raises:
        UnknownNameError: no such data set.
        LeanSegError: a part selects nothing.
    """
    wanted, selected = set(classes), []
    for part in parts:
        name, split, lesion_class = (*part.split(":"), "", "")[:3]
        if name not in DATASETS:
            raise UnknownNameError("data set", name, DATASETS)
        taken = {lesion_class} & wanted if lesion_class else wanted
        cases = [c for c in DATASETS[name](root / name) if c.split == split and c.lesion_class in taken]
        if not cases:
            raise LeanSegError(f"{part!r} with classes {sorted(wanted)} selects no case. Check split and classes.")
        selected.extend(cases)
    return selected
