"""The brain that the benchmark runs on: a case of a folder, or a phantom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from leanseg.files.images import read_image
from leanseg.files.sequence_names import sequence_of
from leanseg.processing.brain import SEQUENCES
from leanseg.volume import Volume

SHAPE_KJI = (155, 240, 240)
BRAIN_KJI = (138, 170, 138)
"""Extent of a typical brain of BraTS, voxels of 1 mm."""
TUMOR_RADIUS = 30.0
_CONTRAST = {
    "flair": (90, 200, 150, 120),
    "t1ce": (110, 90, 70, 230),
    "t1": (130, 90, 70, 100),
    "t2": (80, 190, 210, 130),
}
"""Gray of brain, edema, necrosis, enhancing rim."""


def phantom_arrays(seed: int = 0, shape_kji: tuple[int, int, int] = SHAPE_KJI) -> dict[str, NDArray[np.uint8]]:
    """Four sequences (k, j, i): an ellipsoid of smooth tissue, a tumor of three shells, zeros around it.

    Its size is that of a patient, so that times are comparable; how many slices a network skips in it is not.
    """
    rng = np.random.default_rng(seed)
    center = [(n - 1) / 2 for n in shape_kji]
    half = [min(extent, n - 2) / 2 for extent, n in zip(BRAIN_KJI, shape_kji, strict=True)]
    k, j, i = np.ogrid[tuple(slice(0, n) for n in shape_kji)]
    brain = sum(((x - c) / h) ** 2 for x, c, h in zip((k, j, i), center, half, strict=True)) < 1
    middle = [c + 0.25 * h for c, h in zip(center, half, strict=True)]
    radius = TUMOR_RADIUS * half[1] / (BRAIN_KJI[1] / 2)
    distance = np.sqrt(sum((x - m) ** 2 for x, m in zip((k, j, i), middle, strict=True)))
    kind = np.select([distance < 0.35 * radius, distance < 0.6 * radius, distance < radius], [2, 3, 1], 0)
    arrays = {}
    for name, grays in _CONTRAST.items():
        noisy = np.take(np.array(grays, np.float32), kind) + 12 * rng.standard_normal(shape_kji, dtype=np.float32)
        arrays[name] = (np.clip(noisy, 1, 255) * brain).astype(np.uint8)
    return arrays


def write_phantom(folder: Path) -> None:
    for name, array in phantom_arrays().items():
        image = sitk.GetImageFromArray(array)
        image.SetOrigin((0, -239, 0))
        sitk.WriteImage(image, str(folder / f"phantom_{name}.nii.gz"))


def files_of(folder: Path) -> dict[str, Path]:
    """The four sequences of a folder, by name.

    Raises:
        SystemExit: some are missing, or one is there twice.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.nii*")):
        name = sequence_of(path.name.removeprefix(folder.name))
        if name in found:
            raise SystemExit(f"{folder} holds {name} twice ({found[name].name}, {path.name}). Leave one.")
        if name:
            found[name] = path
    if missing := [name for name in SEQUENCES if name not in found]:
        raise SystemExit(f"{folder} lacks {', '.join(missing)}. Give the folder of one case with four sequences.")
    return {name: found[name] for name in SEQUENCES}


def read_case(files: dict[str, Path]) -> dict[str, Volume]:
    return {name: read_image(path) for name, path in files.items()}
