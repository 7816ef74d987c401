"""The pictures of README: `.venv/bin/python docs/pictures.py`. Phantoms only: no patient's image may be shipped."""

from pathlib import Path

import numpy as np

from leanseg import load_engine, segment
from leanseg.phantom import ultrasound_phantom
from leanseg.pictures import case_pictures, write_png

SCREENSHOTS = Path(__file__).parents[1] / "Resources" / "Screenshots"


def ultrasound() -> Path:
    """Rows: benign, malignant, normal phantom. Columns: image, mask, uncertainty, truth."""
    model, rows = load_engine("t2kd_busi"), []
    for kind in ("benign", "malignant", "normal"):
        phantom = ultrasound_phantom(kind, seed=1)
        result = segment(phantom.image, model)
        gray = phantom.image.array[0, 0].astype(np.uint8)
        mask, uncertainty = result.mask("lesion")[0], result.uncertainty.array[0, 0].astype(np.float32)
        columns = case_pictures(gray, mask, uncertainty, phantom.truth[0]).values()
        gap = np.full((gray.shape[0], 4, 3), 255, np.uint8)
        rows += [np.hstack([part for column in columns for part in (column, gap)][:-1])]
    gap = np.full((4, rows[0].shape[1], 3), 255, np.uint8)
    path = SCREENSHOTS / "ultrasound.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(np.vstack([part for row in rows for part in (row, gap)][:-1]), path)
    return path


if __name__ == "__main__":
    ultrasound()
