"""BraTS, glioma MRI with four sequences and expert labels: the naming and both label codings of 2018 to 2023.

Files: `<case>_{t1,t1ce,t2,flair,seg}.nii[.gz]` (2018 to 2021) or `<case>-{t1n,t1c,t2w,t2f,seg}.nii[.gz]` (2023), in
any folder below the root. Labels: 1 necrosis and non-enhancing tumor, 2 edema, and the enhancing tumor ET as 4 (to
2022) or 3 (2023). BraTS 2013 and 2024 give 3 or 4 other meanings and are refused where both occur in one file.

A `cases.json` in the root, `{case: {grade, split, report}}`, adds what file names do not say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import LeanSegError, UnknownNameError, UnreadableFileError
from leanseg.files.images import read_image
from leanseg.processing.brain import SEQUENCES, BrainInput, BrainPreprocessingConfig, preprocess_brain
from leanseg.volume import Volume

LICENSE = (
    "BraTS 2018: research use with citation of Menze et al. 2015 and Bakas et al. 2017 and 2018. Reports: Shi et al. "
    "2025 (TextBraTS)."
)
REGIONS = ("WT", "TC", "ET")
"""Nested, largest first: whole tumor, tumor core, enhancing tumor."""
FOLDS = 4
SPLITS = ("train", "val", "unlabeled")

_SEQUENCE_OF = {
    **{"flair": "flair", "t1ce": "t1ce", "t1": "t1", "t2": "t2"},
    **{"t2f": "flair", "t1c": "t1ce", "t1n": "t1", "t2w": "t2"},
}
_FILE = re.compile(rf"(?P<case>.+)[_-](?P<what>{'|'.join(_SEQUENCE_OF)}|seg)\.nii(\.gz)?", re.IGNORECASE)
_TIME_POINT = re.compile(r"(?P<patient>BraTS-[A-Z]+-\d+)-\d+")


@dataclass(frozen=True)
class BratsCase:
    """One study; the files stay where they are."""

    id: str
    sequences: Mapping[str, Path]
    """By name as in `processing.brain.SEQUENCES`; some may be missing."""
    truth: Path | None
    split: str
    """Of cases.json; without one, `train` where there is a truth, else `unlabeled`."""
    group: str
    """The patient: time points of one patient (BraTS 2023) share it."""
    fold: int = 0
    """Of the cross-validation, 0 to `FOLDS` - 1, see `assign_folds`."""
    grade: str = ""
    """HGG, LGG, or nothing."""
    report: str = field(default="", repr=False)
    """Free text of a radiologist, or nothing."""


# ── which cases there are ───────────────────────────────────────────────────────────────────────────────────────────


def read_cases(root: Path) -> list[BratsCase]:
    """Every case below the folder, sorted by id.

    Raises:
        UnreadableFileError: no case, a damaged cases.json, or one that names other cases than there are.
        LeanSegError: one case in two folders.
    """
    files = _find_files(root)
    if not files:
        raise UnreadableFileError(
            f"{root} holds no file named as <case>_flair.nii.gz or <case>-t2f.nii.gz. Give the folder of BraTS."
        )
    listed = _read_index(root / "cases.json", files)
    found: dict[str, dict[str, Any]] = {}
    for case, paths in files.items():
        facts = listed.get(case, {})
        truth = paths.get("seg")
        above = {parent.upper() for parent in next(iter(paths.values())).relative_to(root).parts}
        patient = _TIME_POINT.fullmatch(case)
        found[case] = {
            "sequences": {name: paths[name] for name in SEQUENCES if name in paths},
            "truth": truth,
            "split": facts.get("split", "train" if truth else "unlabeled"),
            "group": patient["patient"] if patient else case,
            "grade": facts.get("grade", "HGG" if "HGG" in above else "LGG" if "LGG" in above else ""),
            "report": facts.get("report", ""),
        }
    folds = assign_folds({case: (values["grade"], values["group"]) for case, values in found.items()})
    return [BratsCase(id=case, fold=folds[case], **values) for case, values in sorted(found.items())]


def _find_files(root: Path) -> dict[str, dict[str, Path]]:
    """By case: what (a sequence or `seg`) -> path."""
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(root.rglob("*.nii*")):
        match = _FILE.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        what = match["what"].lower()
        of_case = files.setdefault(match["case"], {})
        if (other := of_case.setdefault(_SEQUENCE_OF.get(what, what), path)) != path:
            raise LeanSegError(f"{other} and {path} are the same sequence of one case. Remove or rename one.")
    return {case: paths for case, paths in files.items() if set(paths) != {"seg"}}


def _read_index(path: Path, cases: Iterable[str]) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableFileError(f"{path} is not JSON ({error}). Restore it, or remove it.") from error
    if not isinstance(listed, dict) or not all(isinstance(facts, dict) for facts in listed.values()):
        raise UnreadableFileError(f"{path} must hold {{case: {{grade, split, report}}}}. Restore it, or remove it.")
    if unlike := sorted(set(listed) ^ set(cases)):
        where = "cases.json" if unlike[0] in listed else "the folder"
        raise UnreadableFileError(
            f"{path}: {len(unlike)} case(s) are in the index or in the folder but not in both; {unlike[0]} is only in "
            f"{where}. Complete them."
        )
    return listed


def assign_folds(cases: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Case -> fold, by a fixed rule and no chance: patients sorted by (grade, name) are dealt out in turn.

    So grades, and the centers that names begin with, spread over the folds, and a patient stays in one. `cases` gives
    the grade and the patient (group) of each.
    """
    patients = sorted({(min(g for g, p in cases.values() if p == patient), patient) for _, patient in cases.values()})
    fold_of = {patient: rank % FOLDS for rank, (_, patient) in enumerate(patients)}
    return {case: fold_of[patient] for case, (_, patient) in cases.items()}


def select(cases: Iterable[BratsCase], part: str) -> list[BratsCase]:
    """Cases of `train`, `val`, `unlabeled`, `all`, `fold0` ... `fold3`, or `without_fold0` ... `without_fold3`.

    `without_foldN` trains the model that `foldN` tests; neither looks at the split, and both leave unlabeled cases out.

    Raises:
        UnknownNameError: no such part.
        LeanSegError: it selects nothing.
    """
    folds = {f"fold{n}": n for n in range(FOLDS)}
    known = (*SPLITS, "all", *folds, *(f"without_{name}" for name in folds))
    if part not in known:
        raise UnknownNameError("part of brats", part, known)
    if part == "all":
        chosen = list(cases)
    elif part in SPLITS:
        chosen = [case for case in cases if case.split == part]
    else:
        held_out = folds[part.removeprefix("without_")]
        is_wanted = part.startswith("fold")
        chosen = [case for case in cases if case.truth and (case.fold == held_out) == is_wanted]
    if not chosen:
        raise LeanSegError(f"The part {part!r} of brats selects no case. Check the folder.")
    return chosen


# ── voxels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_sequences(case: BratsCase) -> dict[str, Volume]:
    """The sequences that the case has, by name."""
    return {name: read_image(path) for name, path in case.sequences.items()}


def read_regions(case: BratsCase) -> Volume:
    """The truth as nested masks (WT, TC, ET), uint8, 0 or 1.

    Raises:
        LeanSegError: the case has no truth, or its labels are not of BraTS 2018 to 2023.
    """
    if case.truth is None:
        raise LeanSegError(f"{case.id} has no <case>_seg file, so nothing can be compared with it. Leave it out.")
    labels = read_image(case.truth)
    return labels.with_array(regions_of(labels.array, case.id))


def regions_of(labels: NDArray[np.generic], where: str = "The labelmap") -> NDArray[np.uint8]:
    """(1, k, j, i) labels -> (3, k, j, i): WT = {1, 2, ET}, TC = {1, ET}, ET = 3 or 4, whichever occurs.

    Raises:
        LeanSegError: other labels than 0 to 4, or both 3 and 4.
    """
    found = {float(value) for value in np.unique(labels)}
    if not found <= {0.0, 1.0, 2.0, 3.0, 4.0}:
        raise LeanSegError(f"{where} has the labels {sorted(found)}; BraTS has 0, 1, 2 and 4 (or 3). Check the file.")
    if {3.0, 4.0} <= found:
        raise LeanSegError(
            f"{where} has the labels 3 and 4, as BraTS 2013 and 2024; 2018 to 2023 have one of them, the enhancing "
            "tumor. Map the labels first."
        )
    enhancing = labels[0] >= 3
    core = enhancing | (labels[0] == 1)
    return np.stack([labels[0] > 0, core, enhancing]).astype(np.uint8)


def load_pair(
    case: BratsCase, config: BrainPreprocessingConfig, labeled: bool = True
) -> tuple[BrainInput, NDArray[np.uint8]]:
    """Preprocess a case as in use; the regions (3, k, j, i) follow the images' own grid trace.

    Not `labeled`: no truth is read, and the regions are empty.

    Raises:
        LeanSegError: as `read_regions` and `preprocess_brain`, or the truth lies on another grid.
    """
    sequences = read_sequences(case)
    if not labeled:
        model_input = preprocess_brain(sequences, config)
        return model_input, np.zeros((3, *model_input.volume.array.shape[1:]), dtype=np.uint8)
    regions = read_regions(case)
    reference = next(iter(sequences.values())).geometry
    if not regions.geometry.is_close_to(reference, 0.1 * min(reference.spacing_kji_mm)):
        raise LeanSegError(f"{case.id}: the truth lies on another grid than the images. Resample it to theirs.")
    model_input = preprocess_brain(sequences, config)
    for step in model_input.trace.steps:
        regions = step.apply(regions)
    return model_input, np.greater_equal(regions.array, 0.5).astype(np.uint8)
