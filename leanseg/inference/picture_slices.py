"""The slices of a volume as a person looks at them and a text-guided network sees them, and the way back.

Where an image says how it lies in the patient, its slices are turned as Slicer shows them, by flips and permutations
only: axial with anterior at the top and the patient's right on the left, sagittal with superior at the top and anterior
on the left, coronal with superior at the top and the patient's right on the left. `PictureFrame` says which it is, so
that words can be translated. The trace undoes everything once (invariant 2 of ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.processing.grid import Crop, GridTrace, Reorient, Resample
from leanseg.processing.intensity import to_gray
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.prompts.directions import PictureFrame
from leanseg.volume import OPPOSITE, Volume, VolumeGeometry
from leanseg.weights.card import ModelCard

NO_FRAME = PictureFrame()
_NAMES = {"ultrasound": "ultrasound", "mri": "MRI"}
_FAINT = 0.02  # of the range of a slice; what is darker is background
_FOREGROUND = 0.1
_LOOKED_AT = 9  # slices, evenly spaced
_MIN_PAIRS = 500  # of neighboring foreground pixels; with fewer the ratio is chance
_ULTRASOUND_RATIO, _OTHER_RATIO = 1.45, 1.25
Float32 = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Picture:
    """One slice on the model grid."""

    image: Float32
    """(1, j, i), 0 to 1"""
    organ: NDArray[np.bool_]
    """(j, i): what words about places refer to; in patients what is not background, else the picture without padding"""


class PictureSlices:
    """Makes a picture of a slice, and brings masks, places and results there and back."""

    def __init__(self, volume: Volume, config: PreprocessingConfig, modality: str = "") -> None:
        """`modality`: `ultrasound`, `mri`, or nothing: then the image has to tell.

        Raises:
            IncompatibleInputError: too small, in color, NaN or infinite values, or no contrast in any slice.
        """
        self._config = config
        self._array = _checked_gray(volume)
        geometry = volume.geometry
        self.looks_like = looks_like(self._array)
        self.has_frame = _lies_in_a_patient(geometry, modality, self.looks_like)
        slab = Crop(geometry, (0, 0, 0), (1, *geometry.shape[1:])).target
        turn, frame = _as_slicer_shows(slab)
        self.frame = frame if self.has_frame else NO_FRAME
        self._slab = slab
        self._turn = [turn] if self.has_frame else []
        # The way is the same for every slice; values do not matter for it, but they must differ.
        values = np.arange(np.prod(slab.shape), dtype=np.float32).reshape(1, *slab.shape)
        model_input = preprocess(self._turned(Volume(values, slab)), config)
        self._trace = GridTrace([*self._turn, *model_input.trace.steps])
        self._grid = model_input.volume.geometry
        self.inside = self.onto_grid(np.ones(slab.shape[1:], np.bool_))
        """(j, i) of the model grid: the picture without padding"""

    def contradictions(self, said: str, who_says: str) -> list[str]:
        """One line where the image does not look like what it is said to be; `who_says` begins it."""
        if not said or not self.looks_like or (said == "ultrasound") == (self.looks_like == "ultrasound"):
            return []
        looks = "looks like ultrasound" if said == "mri" else "does not look like ultrasound"
        return [f"{who_says} {_NAMES[said]}; the image {looks}. Compare them."]

    def warnings(self, said: str) -> list[str]:
        """What a person should know about the places in these pictures."""
        if self.has_frame or "ultrasound" in (said, self.looks_like) or not (said or self.looks_like):
            return []
        return [
            "The image does not say how it lies in the patient: left and right are those of the picture. Of a slice "
            "that is shown as usual, the patient's right is on the left."
        ]

    @property
    def size_ji(self) -> tuple[int, int]:
        """Of the model grid."""
        return self._grid.shape[1], self._grid.shape[2]

    def constant(self, k: int) -> float | None:
        """The one value of a slice that has no other; None of all others."""
        low, high = self._array[k].min(), self._array[k].max()
        return float(low) if low == high else None

    def picture(self, k: int) -> Picture:
        """Slice k, which is not constant."""
        slab = Volume(self._array[np.newaxis, k : k + 1].astype(np.float32), self._slab)
        image = preprocess(self._turned(slab), self._config).volume.array[:, 0]
        organ = (image[0] > _FAINT) & self.inside if self.has_frame else self.inside
        return Picture(np.asarray(image, dtype=np.float32), organ)

    def onto_grid(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(j, i) of the volume -> (j, i) of the model grid."""
        moved = Volume(mask[np.newaxis, np.newaxis].astype(np.float32), self._slab)
        for step in self._trace.steps:
            moved = step.apply(moved)
        return np.asarray(moved.array[0, 0] >= 0.5)

    def places_on_grid(self, points_ji: Points) -> Points:
        """(n, 2) j, i of the volume -> (n, 2) j, i of the model grid, in pixels."""
        ijk = np.concatenate([points_ji[:, ::-1], np.zeros((len(points_ji), 1))], axis=1)
        inverse = np.linalg.inv(self._grid.ijk_to_ras)
        moved = self._slab.ras_of(ijk) @ inverse[:3, :3].T + inverse[:3, 3]
        return np.asarray(moved[:, 1::-1])

    def restored(self, values: Float32) -> Float32:
        """(c, j, i) of the model grid -> (c, j, i) of the volume, linear, from 0 to 1."""
        result = self._trace.restore(Volume(values[:, np.newaxis], self._grid)).array[:, 0]
        return np.asarray(np.clip(result, 0, 1), dtype=np.float32)

    def spread(self, values: Float32) -> Float32:
        """(row, column) of equal parts of the model grid -> (j, i) of the volume, linear, from 0 to 1."""
        coarse = VolumeGeometry((1, *values.shape))
        fine = Resample(coarse, self._grid.shape).apply(Volume(values[np.newaxis, np.newaxis], coarse)).array[:, 0]
        result: Float32 = self.restored(np.asarray(fine, dtype=np.float32))[0]
        return result

    def _turned(self, slab: Volume) -> Volume:
        for step in self._turn:
            slab = step.apply(slab)
        return slab


def _checked_gray(volume: Volume) -> NDArray[np.generic]:
    """(k, j, i)"""
    array = volume.array if volume.array.shape[0] == 1 else to_gray(volume.array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise IncompatibleInputError(f"The image has {bad} values that are NaN or infinite. Repair it before use.")
    low, high = array.min(axis=(0, 2, 3)), array.max(axis=(0, 2, 3))
    if (low == high).all():
        raise IncompatibleInputError(
            f"The image is empty: every value is {float(low[0]):g}. Choose an image with contrast."
        )
    return np.asarray(array[0])


def _as_slicer_shows(slab: VolumeGeometry) -> tuple[Reorient, PictureFrame]:
    """How slices k are turned, and where the patient's directions are then; the slices stay what they are."""
    to_ras = Reorient.to_ras(slab)
    axis_of = dict(zip("SAR", to_ras.axes_kji, strict=True))
    runs_against = dict(zip("SAR", to_ras.flips_kji, strict=True))
    normal = next(letter for letter, axis in axis_of.items() if axis == 0)
    across = "A" if normal == "R" else "R"
    down = "A" if normal == "S" else "S"
    # Both run from the positive direction to the negative one: from right or anterior, and from anterior or superior.
    axes = (0, axis_of[down], axis_of[across])
    turn = Reorient(slab, axes, (False, not runs_against[down], not runs_against[across]))
    near = normal if runs_against[normal] else OPPOSITE[normal]
    return turn, PictureFrame(left=across, up=down, near=near)


def _lies_in_a_patient(geometry: VolumeGeometry, modality: str, looks: str) -> bool:
    """Whether the axes of the image can be trusted to be the patient's.

    A picture has no such axes, and the probe of an ultrasound device may be held in any way. Where nobody says what it
    is, one slice without rotation is a picture, and what looks like ultrasound is a clip.
    """
    if modality == "ultrasound" or not geometry.is_calibrated:
        return False
    if modality == "mri":
        return True
    directions = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    is_plain = np.allclose(np.abs(directions), np.eye(3), atol=1e-6)
    return looks != "ultrasound" and not (geometry.shape[0] == 1 and is_plain)


def looks_like(array: NDArray[np.generic]) -> str:
    """(k, j, i) -> `ultrasound`, `other`, or nothing where it cannot be told.

    Echoes are sharper along the beam, which runs down the picture, than across it, so that neighbors differ more from
    row to row than from column to column: in ultrasound 1.4 to 3 times as much, elsewhere about as much. On every third
    image of BUSI and BUS-BRA and 265 slices of BraTS, BreastDM and Duke, which the limits were also chosen with, none
    was mistaken (`Testing/engine/inference/test_picture_slices.py`).
    """
    chosen = np.unique(np.linspace(0, len(array) - 1, min(_LOOKED_AT, len(array))).round().astype(int))
    ratios = [ratio for k in chosen if (ratio := _down_by_across(array[k])) is not None]
    if not ratios:
        return ""
    ratio = float(np.median(ratios))
    return "ultrasound" if ratio > _ULTRASOUND_RATIO else "other" if ratio < _OTHER_RATIO else ""


def of_another_kind(kinds: Sequence[str], card: ModelCard) -> str:
    """One line where images look like none that a model learned from; nothing else. `kinds`: of `looks_like`."""
    learned = {kind.strip() for kind in card.modality.split(",")}
    knows_ultrasound = "US" in learned
    if len(learned) != 1:
        return ""
    number = sum(kind == ("other" if knows_ultrasound else "ultrasound") for kind in kinds)
    if not number:
        return ""
    look = "do not look" if knows_ultrasound else "look"
    why = f"{card.id} learned from {card.modality} alone and knows little of them."
    return f"{number} of {len(kinds)} images {look} like ultrasound: {why}"


def _down_by_across(values: NDArray[np.generic]) -> float | None:
    """(j, i) -> mean difference of neighbors in a column by that of neighbors in a row, in what is not background."""
    gray = values.astype(np.float32)
    low, high = (float(v) for v in np.percentile(gray, (0.5, 99.5)))
    if high <= low:
        return None
    scaled = np.clip((gray - low) / (high - low), 0, 1)
    bright = scaled > _FOREGROUND
    down = np.abs(np.diff(scaled, axis=0))[bright[1:] & bright[:-1]]
    across = np.abs(np.diff(scaled, axis=1))[bright[:, 1:] & bright[:, :-1]]
    if min(down.size, across.size) < _MIN_PAIRS or across.mean() == 0:
        return None
    return float(down.mean() / across.mean())
