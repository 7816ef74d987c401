"""A folder like that of VQA-RAD, with pictures whose left or right half is bright."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

SIDE = 32


def row(image: str, question: str, answer: object, **more: str) -> dict[str, Any]:
    return {
        **{"qid": "0", "phrase_type": "freeform", "image_name": image, "question": question, "answer": answer},
        **{"question_rephrase": "NULL", "question_type": "PRES", "answer_type": "CLOSED"},
        **more,
    }


def write_vqa_rad(root: Path, number: int = 30) -> Path:
    """Image n is bright on the left if n is even; of each, three training questions and one of the test split."""
    folder = root / "vqa_rad"
    (folder / "images").mkdir(parents=True)
    rows, generator = [], np.random.default_rng(0)
    for n in range(number):
        name, left = f"image{n}.png", n % 2 == 0
        bright = (np.arange(SIDE) < SIDE // 2) == left
        pixels = 60 + 120 * np.tile(bright, (SIDE, 1)) + generator.integers(0, 40, (SIDE, SIDE))
        sitk.WriteImage(sitk.GetImageFromArray(pixels.astype(np.uint8)), folder / "images" / name)
        side, other = ("left", "right") if left else ("right", "left")
        rephrased = {"question_rephrase": "In which half is it bright?"}
        rows += [
            row(name, "Where is it bright?", side.title(), question_type="POS", answer_type="OPEN", **rephrased),
            row(name, f"Is the {side} half bright?", "Yes"),
            row(name, f"Is the {other} half bright?", "no"),
            row(name, "Is the left side bright?", "Yes" if left else "No", phrase_type="test_freeform"),
        ]
    (folder / "vqa_rad.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    return root
