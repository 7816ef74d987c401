"""A simulated brain with a tumor in four MRI sequences, skull-stripped: for sample data and tests.

Two hemispheres of white matter with folded gray matter around them, ventricles, and a tumor of necrosis, enhancing rim
and edema. Figures on it say that the way works from end to end; they say nothing about accuracy on patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.volume import Volume, VolumeGeometry

AXES_MM = (64.0, 82.0, 58.0)  # half lengths of the brain to R, A, S
TUMOR_MM = (24.0, 18.0, 14.0)  # middle of the tumor, RAS
_RADII_MM = {"edema": 21.0, "core": 12.5, "necrosis": 7.0}
_TISSUES = {  # gray value in flair, t1ce, t1, t2
    "gray": (300, 330, 320, 330),
    "white": (240, 450, 450, 230),
    "fluid": (70, 170, 160, 620),
    "edema": (560, 330, 320, 520),
    "enhancing": (430, 800, 330, 420),
    "necrosis": (330, 210, 220, 560),
}
_SEQUENCES = ("flair", "t1ce", "t1", "t2")
_NOISE = 12.0
Field = NDArray[np.float64]


@dataclass(frozen=True)
class BrainPhantom:
    """Sequences and truth on one grid."""

    volumes: dict[str, Volume]
    """By `flair`, `t1ce`, `t1`, `t2`, each (1, k, j, i), int16"""
    truth: dict[str, NDArray[np.bool_]]
    """(k, j, i) of `WT`, `TC`, `ET`, each inside the one before"""


def brain_phantom(
    spacing_kji_mm: tuple[float, float, float] = (2.0, 1.0, 1.0), seed: int = 0, has_tumor: bool = True
) -> BrainPhantom:
    """Axial slices, i to the left and j to the back, as in BraTS; the middle of the brain is the origin.

    Args:
        spacing_kji_mm: of the voxels; the size of the brain is always the same.
        seed: of folds and noise.
        has_tumor: False leaves the tumor away.
    """
    rng = np.random.default_rng(seed)
    dk, dj, di = spacing_kji_mm
    margins = np.array([AXES_MM[2], AXES_MM[1], AXES_MM[0]]) + 10
    depth, height, width = (int(2 * mm / step) + 1 for mm, step in zip(margins, spacing_kji_mm, strict=True))
    shape = (depth, height, width)
    ijk_to_ras = np.diag([-di, -dj, dk, 1.0])
    ijk_to_ras[:3, 3] = [di * (shape[2] - 1) / 2, dj * (shape[1] - 1) / 2, -dk * (shape[0] - 1) / 2]
    geometry = VolumeGeometry(shape, ijk_to_ras)
    k, j, i = np.indices(shape, dtype=np.float64)
    ras = (ijk_to_ras[0, 3] - di * i, ijk_to_ras[1, 3] - dj * j, ijk_to_ras[2, 3] + dk * k)
    tissue, brain = _tissues(ras, rng, has_tumor)
    names = list(_TISSUES)
    volumes = {}
    for channel, name in enumerate(_SEQUENCES):
        values = np.array([_TISSUES[each][channel] for each in names], dtype=np.float64)[tissue]
        image = _smooth(values) + _NOISE * rng.standard_normal(shape)
        volumes[name] = Volume(np.where(brain, np.maximum(image, 1), 0).astype(np.int16)[np.newaxis], geometry)
    return BrainPhantom(volumes, {
        "WT": tissue >= names.index("edema"), "TC": tissue >= names.index("enhancing"),
        "ET": tissue == names.index("enhancing"),
    })  # fmt: skip


def _tissues(
    ras: tuple[Field, Field, Field], rng: np.random.Generator, has_tumor: bool
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """(k, j, i): index in _TISSUES, and where the brain is."""
    r, a, s = ras
    radius = np.sqrt((r / AXES_MM[0]) ** 2 + (a / AXES_MM[1]) ** 2 + (s / AXES_MM[2]) ** 2)
    folds = sum(
        np.cos((r * x + a * y + s * z) / 5.5 + phase)
        for x, y, z, phase in rng.uniform([-1, -1, -1, 0], [1, 1, 1, 2 * np.pi], (6, 4))
    )
    brain = radius < 1
    tissue = np.zeros(radius.shape, dtype=np.intp)  # gray
    tissue[radius + 0.03 * folds < 0.84] = 1
    tissue[(radius + 0.03 * folds > 0.97) | (np.abs(r) < 1.5) & (radius > 0.55)] = 2
    for side in (-1, 1):
        ventricle = ((r - side * 10) / 6) ** 2 + ((a - 2) / 26) ** 2 + ((s - 8) / 9) ** 2 < 1
        tissue[ventricle] = 2
    if has_tumor:
        distance = np.sqrt(sum((x - middle) ** 2 for x, middle in zip(ras, TUMOR_MM, strict=True)))
        distance = distance + 0.7 * folds
        for index, name in ((3, "edema"), (4, "core"), (5, "necrosis")):
            tissue[brain & (distance < _RADII_MM[name])] = index
    return tissue, brain


def _smooth(values: Field) -> Field:
    """Neighbors in j and i mixed, as by partial volume."""
    for axis in (1, 2):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values
