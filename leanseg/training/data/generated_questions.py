"""Questions with answers that a ground truth gives: what was made, in which plane, how many, which side, how large.

Pictures: breast ultrasound of `busi` and `bus_bra`; slices of `brats` in three planes, the sequences in turn. Sides of
a brain are the patient's, from the geometry of the image; those of an ultrasound picture are the picture's, since a
probe may be held in any way. Only what is clear is asked: a side where the center of the mass is well away from the
middle, a size where the mass is clearly small or large, a count where components are not specks. Half of the
pictures, of each sequence, are mirrored before they are described, so that no side is the more frequent one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leanseg.inference.picture_slices import PictureSlices
from leanseg.processing.grid import Crop, Reorient
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data.brats import BratsCase, read_regions, read_sequences
from leanseg.training.data.case import Case, read_pair
from leanseg.training.data.questions import YES_NO, Question
from leanseg.volume import Volume

PLANES = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""Which axis of a volume in RAS order becomes k, j, i."""
SLICES = (0.04, 0.35, 0.6, 0.96)
"""Of a brain, where its slices are taken: fractions of the tumor's extent. And one slice without tumor."""
_OFF_MIDDLE = 0.1  # of the organ's extent
_SMALL, _LARGE = 0.03, 0.08  # of the organ's area
_SPECK_PX = 30
Mask = NDArray[np.bool_]

_WORDINGS = {
    "modality": ("What imaging modality is this?", "Which modality was used?", "How was this image taken?"),
    "plane": ("In which plane is this image?", "What plane is this slice?", "What is the plane of this image?"),
    "count": ("How many masses are there?", "What is the number of masses?", "How many masses are visible?"),
    "presence": ("Is there a mass?", "Is a mass present?", "Does the image show a tumor?"),
    "side of the patient": (
        "On which side of the patient is the tumor?",
        "Is the tumor on the left or the right of the patient?",
        "Which hemisphere holds most of the tumor?",
    ),
    "side of the picture": (
        "In which half of the picture is the mass?",
        "Is the mass in the left or the right half of the picture?",
        "On which side of the picture is the mass?",
    ),
    "size": ("How large is the mass?", "Is the mass small or large?", "What is the size of the mass?"),
}
_CLOSED = ("side of the patient", "side of the picture", "size")


@dataclass(frozen=True)
class Shown:
    """A picture on the model grid, and what the truth says of it."""

    image: NDArray[np.float32]
    """(1, j, i)"""
    mask: Mask
    """(j, i)"""
    organ: Mask
    """(j, i)"""
    modality: str
    plane: str
    """Nothing: it has none that can be asked for."""


def of_ultrasound(case: Case, config: PreprocessingConfig, mirrored: bool) -> Shown:
    """An image of `busi` or `bus_bra`."""
    image, truth = read_pair(case)
    slices = PictureSlices(image, config, "ultrasound")
    picture = slices.picture(0)
    shown = Shown(picture.image, slices.onto_grid(truth.array[0, 0] > 0), picture.organ, "ultrasound", "")
    return _mirrored(shown) if mirrored else shown


def of_brain(case: BratsCase, config: PreprocessingConfig) -> Iterator[tuple[str, Shown]]:
    """Slices of a case in three planes, the sequences in turn, with names."""
    volumes, truth = list(read_sequences(case).items()), read_regions(case)
    turn = Reorient.to_ras(truth.geometry)
    tumor = turn.apply(truth.with_array(truth.array[:1]))
    turned = {name: turn.apply(volume) for name, volume in volumes}
    number = 0
    for plane, axes in PLANES.items():
        view = Reorient(tumor.geometry, axes, (False, False, False))
        mask = view.apply(tumor)
        for k in _chosen(mask.array[0] > 0):
            for _ in range(2):
                name = volumes[number % len(volumes)][0]
                number += 1
                shown = _shown(view.apply(turned[name]), mask.array[0, k] > 0, k, plane, config)
                mirrored = (number - 1) // len(volumes) % 2 == 1  # every other turn: each sequence in half of its own
                if shown is not None:
                    yield f"{case.id}:{name}:{plane}:{k}", _mirrored(shown) if mirrored else shown


def _chosen(mask: Mask) -> list[int]:
    """Slices (k, j, i) through the tumor, and one outside of it."""
    there = np.flatnonzero(mask.any(axis=(1, 2)))
    inside = [int(there[0] + fraction * (there[-1] - there[0])) for fraction in SLICES]
    before, after = int(there[0]) - 8, int(there[-1]) + 8
    middle = len(mask) // 2
    outside = min((k for k in (before, after) if 0 <= k < len(mask)), key=lambda k: abs(k - middle), default=None)
    return [*inside, *([] if outside is None or abs(outside - middle) > len(mask) // 3 else [outside])]


def _shown(volume: Volume, mask: Mask, k: int, plane: str, config: PreprocessingConfig) -> Shown | None:
    """Slice k as a person sees it; None where there is next to no brain."""
    slab = Crop(volume.geometry, (k, 0, 0), (1, *volume.geometry.shape[1:])).apply(volume)
    if np.count_nonzero(slab.array) < 0.1 * slab.array.size:
        return None
    slices = PictureSlices(slab, config, "mri")
    picture = slices.picture(0)
    return Shown(picture.image, slices.onto_grid(mask), picture.organ, "mri", plane)


def _mirrored(shown: Shown) -> Shown:
    mask, organ = (np.flip(array, axis=-1).copy() for array in (shown.mask, shown.organ))
    return replace(shown, image=np.flip(shown.image, axis=-1).copy(), mask=mask, organ=organ)


def questions_about(shown: Shown) -> Iterator[Question]:
    """Everything that is clear about a picture."""
    masses = masses_of(shown.mask)
    yield _question("modality", shown.modality)
    for modality in ("mri", "ultrasound"):
        said = "an MRI" if modality == "mri" else "an ultrasound image"
        texts = (f"Is this {said}?", f"Was this taken by {'MRI' if modality == 'mri' else 'ultrasound'}?")
        yield Question(texts, _yes(modality == shown.modality), YES_NO, is_closed=True)
    if shown.plane:
        yield _question("plane", shown.plane)
        for plane in PLANES:
            texts = (f"Is this {'an' if plane[0] == 'a' else 'a'} {plane} image?", f"Is this the {plane} plane?")
            yield Question(texts, _yes(plane == shown.plane), YES_NO, is_closed=True)
    if not masses and shown.mask.any():
        return  # specks, of which nothing is clear
    yield Question(_WORDINGS["presence"], _yes(bool(masses)), YES_NO, is_closed=True)
    if shown.modality == "ultrasound":  # a glioma has no clear number
        yield _question("count", str(len(masses)))
    if not masses:
        return
    yield from _of_masses(shown, np.any(masses, axis=0))


def _of_masses(shown: Shown, mask: Mask) -> Iterator[Question]:
    columns = np.flatnonzero(shown.organ.any(axis=0))
    x = (np.nonzero(mask)[1].mean() - columns[0] + 0.5) / (columns[-1] - columns[0] + 1)
    if abs(x - 0.5) > _OFF_MIDDLE and shown.plane != "sagittal":
        in_left_half = bool(x < 0.5)
        of_patient = shown.modality == "mri"  # the patient's right is on the left of the picture
        answer = "left" if in_left_half != of_patient else "right"
        yield _question("side of the patient" if of_patient else "side of the picture", answer)
    fraction = np.count_nonzero(mask) / np.count_nonzero(shown.organ)
    if not _SMALL <= fraction <= _LARGE:
        yield _question("size", "small" if fraction < _SMALL else "large")


def masses_of(mask: Mask) -> list[Mask]:
    """Components of a (j, i) mask that are no specks."""
    if not mask.any():
        return []
    import SimpleITK as sitk

    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    parts = [labels == n for n in range(1, int(labels.max()) + 1)]
    return [part for part in parts if np.count_nonzero(part) >= _SPECK_PX]


def _question(what: str, answer: str) -> Question:
    kind = "position" if what.startswith("side") else what
    return Question(_WORDINGS[what], answer, kind, is_closed=what in _CLOSED)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
