"""Run the command line in tests, and look at what it prints and writes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from leanseg.__main__ import main
from leanseg.weights.bundle import Bundle
from Testing.engine.tiny import dark_on_bright, ellipse

REPORT_KEYS = [
    *("model", "checksum", "versions", "device", "precision", "seconds"),
    *("peak_rss_mb", "gmacs", "mean", "cases"),
]
VERBS = ("models", "systems", "segment", "evaluate", "train", "export", "bench", "demo", "doctor")
ELLIPSE = ellipse((48, 64))
GRAY: NDArray[np.uint8] = np.where(ELLIPSE, 20, 200).astype(np.uint8)

Captured = pytest.CaptureFixture[str]


def leanseg_main(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def one_line(capfd: Captured, *arguments: object) -> str:
    """Run what must fail; returns the message. Nothing is printed but `leanseg: ` and one line on standard error."""
    code = leanseg_main(*arguments)
    out, err = capfd.readouterr()
    assert (code, out) == (1, "")
    assert re.fullmatch(r"leanseg: [^\n]{10,}\n", err), err
    assert "Traceback" not in err
    return err.removeprefix("leanseg: ").rstrip("\n")


def written(array: NDArray[Any], path: Path, *, color: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=color), str(path))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mask_of(path: Path) -> NDArray[np.bool_]:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == 1)


def python(*arguments: object) -> subprocess.Popen[str]:
    """A fresh Python that finds LeanSeg, tolerates no warning, and buffers what it prints, as it does by itself."""
    repository = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-W", "error", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(repository), "PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tilted_volume() -> sitk.Image:
    """4 x 40 x 50 voxels of 0.4 x 0.5 x 3 mm, oblique, far from the origin; the lesion is in slices 1 and 2."""
    mask = np.zeros((4, 40, 50), bool)
    mask[1], mask[2] = ellipse((40, 50)), ellipse((40, 50), (0.4, 0.4))
    volume = sitk.GetImageFromArray(dark_on_bright(mask, "int16").array[0])
    volume.SetSpacing((0.4, 0.5, 3.0))
    volume.SetOrigin((-120.5, 33.25, 700.0))
    volume.SetDirection((0.8, 0.0, 0.6, 0.0, 1.0, 0.0, -0.6, 0.0, 0.8))
    return volume


def damage_graph(bundle: Bundle) -> None:
    (bundle.folder / "tiny_fp32.onnx").write_bytes(b"damaged")


def edit_card(bundle: Bundle, **changes: Any) -> None:
    path = bundle.folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
