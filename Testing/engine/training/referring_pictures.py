"""A folder like that of monuseg_text, whose pictures show a few bright and dark disks."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

SIDE = 80


def disks(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture and mask; two to four disks that do not touch."""
    j, i = np.indices((SIDE, SIDE))
    pixels, mask = 120 + 4 * rng.standard_normal((SIDE, SIDE)), np.zeros((SIDE, SIDE), bool)
    number = int(rng.integers(2, 5))
    while number:
        radius = rng.uniform(5, 14)
        y, x = rng.uniform(radius, SIDE - radius, 2)
        distance = np.hypot(j - y, i - x)
        if not mask[distance < radius + 4].any():
            mask |= distance < radius
            pixels[distance < radius] += rng.choice([-1, 1]) * rng.uniform(40, 100)
            number -= 1
    return pixels.clip(0, 255).astype(np.uint8), mask.astype(np.uint8) * 255


def write_disks(root: Path, train: int = 12, others: int = 4) -> Path:
    """So many pictures of the training split, and of each of the others."""
    folder, rng = root / "monuseg_text", np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = ["id,split,text"]
    for split, number in (("train", train), ("val", others), ("test", others)):
        for n in range(number):
            pixels, mask = disks(rng)
            color = sitk.GetImageFromArray(np.repeat(pixels[..., np.newaxis], 3, axis=2), isVector=True)
            sitk.WriteImage(color, folder / "images" / f"{split}{n}.png")
            sitk.WriteImage(sitk.GetImageFromArray(mask), folder / "masks" / f"{split}{n}.png")
            rows.append(f"{split}{n},{split},Disks.")
    (folder / "text.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root
