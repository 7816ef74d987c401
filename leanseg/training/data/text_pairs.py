"""Images, masks, and what may be said about them: breast ultrasound, brain MRI with reports, phantoms.

Parts as in all recipes: `busi:train`, `bus_bra:train`, `brats:train` (slices of flair, t2 and t1ce, each by itself;
`brats:train:flair` is one sequence; the target is the whole tumor), `text_phantom:train`, `text_phantom:train:mri`,
`text_phantom:train:mri+several` (two or three lesions in each: words decide), `breastdm:test`. Pictures are made
by the code that makes them in use (`inference.picture_slices`).

A part that is named twice is drawn twice as often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from leanseg.errors import LeanSegError, UnknownNameError, UnreadableFileError
from leanseg.files.images import read_image
from leanseg.inference.picture_slices import PictureSlices
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.prompts.directions import pictured_text
from leanseg.text_phantom import KINDS, text_phantom
from leanseg.training.data import DATASETS
from leanseg.training.data.arrays import BRATS_FOLDER, TrainingArrays
from leanseg.training.data.brats import read_cases, read_regions, read_sequences, select
from leanseg.training.data.case import LESION_CLASSES, read_pair
from leanseg.training.recipe import Recipe
from leanseg.volume import Volume

TEXT_DATASETS = (*DATASETS, "brats", "breastdm", "text_phantom")
BRATS_SEQUENCES = ("flair", "t2", "t1ce")
PHANTOM_SPLITS = {"train": (0, 240), "val": (1000, 40), "test": (2000, 100)}
"""First seed, and images of each kind."""
SEVERAL = "+several"
ORGAN_PX = 48
"""Side on which organs are kept."""
_MIN_TUMOR_PX = 30
_TUMOR_STEP, _EMPTY_STEP = 2, 8
"""Every so many of the slices of a brain are kept: neighbors are much alike."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TextCase:
    """An image or volume, its truth, and what a person wrote about it."""

    id: str
    part: str
    modality: str
    """As in `prompts.structure.MODALITIES`"""
    image: Volume
    truth: Mask
    """(k, j, i)"""
    report: str = ""
    """In words of the patient, or nothing"""
    lesions: NDArray[np.uint8] | None = None
    """(k, j, i): number of the lesion, where the truth knows"""


@dataclass(frozen=True)
class TextPairs(TrainingArrays):
    """Pictures on the model grid, float16 in [0, 1]; `classes` is 1 where there is a lesion."""

    organs: Tensor
    """(image, 1, ORGAN_PX, ORGAN_PX), uint8: what words about places refer to"""
    parts: Tensor
    """(image,), which part of the data"""
    modalities: tuple[str, ...]
    """Of each image"""
    reports: tuple[str, ...]
    """Of each image, in words of the picture; or nothing"""
    per_part: int
    """See `TextConfig.per_part`."""

    def drawn(self, empty_fraction: float) -> int:
        """Images of an epoch; `empty_fraction` as of all training arrays, within each part."""
        return len(self.order(empty_fraction, torch.Generator().manual_seed(0)))

    def order(self, empty_fraction: float, generator: torch.Generator) -> Tensor:
        """(drawn,) indices of an epoch, shuffled: at most `per_part` of each part."""
        chosen = []
        for part in range(int(self.parts.max()) + 1):
            members = (self.parts == part).nonzero().flatten()
            members = members[torch.randperm(len(members), generator=generator)]
            is_empty = self.classes[members] == 0
            kept = members[~is_empty | (is_empty.cumsum(0) <= round(empty_fraction * int(is_empty.sum())))]
            chosen.append(kept[: self.per_part])
        order = torch.cat(chosen)
        return order[torch.randperm(len(order), generator=generator)]


def load_text_pairs(parts: Sequence[str], root: Path, recipe: Recipe) -> TextPairs:
    """All pictures of the parts in memory, `root` being the folder that holds the data sets.

    Raises:
        UnknownNameError: no such data set, split, sequence or kind.
        LeanSegError: nothing is left, or the recipe has no section [text].
    """
    if recipe.text is None:
        raise LeanSegError(f"The recipe {recipe.id} has no section [text]. Add one.")
    loaded: list[_Picture] = []
    ids: dict[str, int] = {}
    for number, part in enumerate(parts):
        for case in read_text_cases(part, root, recipe.data.classes, recipe.size_ji):
            case_number = ids.setdefault(case.id, len(ids))
            loaded += _pictures(case, recipe.preprocessing, case_number, number)
    if not loaded:
        raise LeanSegError("No picture is left to train on. Check the recipe's data section.")
    masks = torch.from_numpy(np.stack([one.mask for one in loaded])[:, np.newaxis].astype(np.uint8))
    organs = torch.from_numpy(np.stack([one.organ for one in loaded])[:, np.newaxis].astype(np.float32))
    return TextPairs(
        torch.from_numpy(np.stack([one.image for one in loaded])),
        masks,
        masks.flatten(1).any(dim=1).long(),
        torch.tensor([one.case for one in loaded]),
        tuple(ids),
        (F.adaptive_avg_pool2d(organs, ORGAN_PX) >= 0.5).to(torch.uint8),
        torch.tensor([one.part for one in loaded]),
        tuple(one.modality for one in loaded),
        tuple(one.report for one in loaded),
        recipe.text.per_part,
    )


@dataclass(frozen=True)
class _Picture:
    image: NDArray[np.float16]
    mask: Mask
    organ: Mask
    case: int
    part: int
    modality: str
    report: str


def _pictures(case: TextCase, config: PreprocessingConfig, number: int, part: int) -> Iterator[_Picture]:
    slices = PictureSlices(case.image, config, case.modality)
    report = pictured_text(case.report, slices.frame)
    for k in _chosen_slices(case, slices):
        picture, mask = slices.picture(k), slices.onto_grid(case.truth[k])
        yield _Picture(picture.image.astype(np.float16), mask, picture.organ, number, part, case.modality, report)


def _chosen_slices(case: TextCase, slices: PictureSlices) -> list[int]:
    """All of a few; of a brain every second with tumor, and few of the others that are not empty."""
    depth = len(case.truth)
    if depth == 1:
        return [0]
    pixels = case.truth.sum(axis=(1, 2))
    with_tumor = [k for k in range(depth) if pixels[k] >= _MIN_TUMOR_PX]
    foreground = (case.image.array[0] > 0).mean(axis=(1, 2))
    without = [k for k in range(depth) if pixels[k] == 0 and foreground[k] > 0.05 and slices.constant(k) is None]
    return [*with_tumor[::_TUMOR_STEP], *without[::_EMPTY_STEP]]


# ── the sets ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_text_cases(
    part: str, root: Path, classes: Sequence[str] = LESION_CLASSES, phantom_size_ji: tuple[int, int] = (192, 192)
) -> Iterator[TextCase]:
    """Cases of a part, one after another; `root` is the folder that holds the data sets.

    Raises:
        UnknownNameError: no such data set, split, sequence or kind.
        LeanSegError: the part selects nothing.
    """
    name = part.partition(":")[0]
    return cases_of(part, root / {"brats": BRATS_FOLDER}.get(name, name), classes, phantom_size_ji)


def cases_of(
    part: str, folder: Path, classes: Sequence[str] = LESION_CLASSES, phantom_size_ji: tuple[int, int] = (192, 192)
) -> Iterator[TextCase]:
    """Likewise with the folder of this data set; phantoms need none."""
    name = part.partition(":")[0]
    if name in DATASETS:
        return _ultrasound(part, folder, classes)
    if name == "brats":
        return _brats(part, folder)
    if name == "breastdm":
        return _breastdm(part, folder)
    if name == "text_phantom":
        return _phantoms(part, phantom_size_ji)
    raise UnknownNameError("data set", name, TEXT_DATASETS)


def _ultrasound(part: str, folder: Path, classes: Sequence[str]) -> Iterator[TextCase]:
    name, split, only = (*part.split(":"), "", "")[:3]
    wanted = {only} & set(classes) if only else set(classes)
    cases = [c for c in DATASETS[name](folder) if split in (c.split, "all") and c.lesion_class in wanted]
    if not cases:
        raise LeanSegError(f"{part!r} with classes {sorted(classes)} selects no case. Check split and classes.")
    for case in cases:
        image, mask = read_pair(case)
        yield TextCase(f"{name}/{case.id}", part, "ultrasound", image, mask.array[0] > 0)


def _brats(part: str, folder: Path) -> Iterator[TextCase]:
    _, split, only = (*part.split(":"), "", "")[:3]
    if only and only not in BRATS_SEQUENCES:
        raise UnknownNameError("sequence", only, BRATS_SEQUENCES)
    for case in select(read_cases(folder), split):
        truth = read_regions(case).array[0] > 0
        for name, image in read_sequences(case).items():
            if name in ((only,) if only else BRATS_SEQUENCES):
                yield TextCase(f"brats/{case.id}/{name}", part, "mri", image, truth, case.report)


def _breastdm(part: str, folder: Path) -> Iterator[TextCase]:
    """All of it is for evaluation: it has about ten patients and no ids."""
    if part.partition(":")[2] not in ("test", "all"):
        raise LeanSegError(f"breastdm has no patient ids, so it is for evaluation only; got {part!r}. Leave it out.")
    paths = sorted((folder / "images").glob("*.png"))
    if not paths:
        raise UnreadableFileError(f"{folder} has no images/*.png. Give the folder of breastdm.")
    for path in paths:
        mask = read_image(folder / "masks" / path.name).array[0] > 0
        yield TextCase(f"breastdm/{path.stem}", part, "mri", read_image(path), mask)


def _phantoms(part: str, size_ji: tuple[int, int]) -> Iterator[TextCase]:
    _, split, only = (*part.split(":"), "", "")[:3]
    if split not in PHANTOM_SPLITS:
        raise UnknownNameError("split of text_phantom", split, PHANTOM_SPLITS)
    kinds, several = only.removesuffix(SEVERAL), only.endswith(SEVERAL)
    if kinds and kinds not in KINDS:
        raise UnknownNameError("kind of text_phantom", kinds, KINDS)
    first, number = PHANTOM_SPLITS[split]
    for seed in range(first, first + number):
        for kind in KINDS:
            if kinds in ("", kind):
                phantom = text_phantom(kind, seed, 2 + seed % 2 if several else None, size_ji)
                yield TextCase(
                    f"text_phantom/{kind}/{seed}",
                    part,
                    kind,
                    phantom.image,
                    phantom.lesions > 0,
                    lesions=phantom.lesions,
                )
