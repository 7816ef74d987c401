"""GlaS, glands in stained sections of the colon (Sirinukunwattana et al., Medical Image Analysis 2017).

Splits: train (85 images), testA (60), testB (20), by the names of the files. The folder has no table, so there are no
grades: every image counts as `benign`, which says here that it shows glands, not that they are harmless. Nor are there
patients: every image is its own group. The masks are binary, so glands that touch are one.

The images are in color. They are read as gray (their luminance), like all images of slice-wise models.
"""

import re
from pathlib import Path

from leanseg.errors import UnreadableFileError
from leanseg.training.data import case

LICENSE = "GlaS@MICCAI 2015: research only; cite Sirinukunwattana et al. 2017."
SPLITS = ("train", "testA", "testB")


def read_cases(root: Path) -> list[case.Case]:
    """Cases of a folder with `images/` and `masks/`, whose files are named <split>_<number>, in this order.

    Raises:
        UnreadableFileError: no such folder, or an image without its mask.
    """
    name = re.compile(rf"({'|'.join(SPLITS)})_(\d+)")
    found = sorted(
        (SPLITS.index(match[1]), int(match[2]), path)
        for path in (root / "images").glob("*")
        if (match := name.fullmatch(path.stem))
    )
    if not found:
        raise UnreadableFileError(f"{root} has no images named train_1, testA_1, ... Give the folder of GlaS.")
    cases = []
    for split, _, image in found:
        mask = root / "masks" / f"{image.stem}.png"
        if not mask.is_file():
            raise UnreadableFileError(f"There is no mask {mask} of {image.name}. Restore the folder of GlaS.")
        cases.append(case.Case(image.stem, "glas", image, mask, "benign", SPLITS[split], image.stem, is_color=True))
    return cases
