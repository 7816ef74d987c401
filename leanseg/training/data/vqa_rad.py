"""VQA-RAD, questions of clinicians about radiographs, CT and MRI (Lau et al., Scientific Data 2018), with answers.

The test split is the official one: questions whose `phrase_type` begins with `test`, 451 of 2248. It is one of
questions: all but one of its images also have training questions. Of those, the questions of some images are held out
as `val`, chosen by a checksum of the image's name, so that validation sees images that training does not.

A training question and its rephrasing are two wordings of one question; a wording that the test split asks of the same
image is left out. The data set also says of each image which part of the body it shows; of that, each image of `train`
gets questions of ours.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leanseg.errors import UnknownNameError, UnreadableFileError
from leanseg.training.data.questions import YES_NO, Question, normalized

LICENSE = "VQA-RAD: CC0 1.0; cite Lau et al. 2018."
SPLITS = ("train", "val", "test")
_FILE = "vqa_rad.json.gz"
_HELD_OUT = 12  # of so many images, one is in `val`
_TYPES = {
    **{"MODALITY": "modality", "PLANE": "plane", "ORGAN": "organ", "ABN": "abnormality", "POS": "position"},
    **{"PRES": "presence", "PRSE": "presence", "SIZE": "size", "ATTRIB": "attribute", "ATRIB": "attribute"},
    **{"COLOR": "color", "COUNT": "count"},
}
_NOTHING = ("", "null", "na")
_BODY = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
_BODY_WORDINGS = ("Which part of the body is shown?", "What part of the body is this?", "Which body part was imaged?")


def read_questions(root: Path, split: str) -> dict[Path, tuple[Question, ...]]:
    """Image file -> its questions of a split, in the order of the file.

    Raises:
        UnknownNameError: no such split.
        UnreadableFileError: the file is missing or damaged.
    """
    if split not in SPLITS:
        raise UnknownNameError("part of vqa_rad", split, SPLITS)
    rows = _read(root / _FILE)
    tested = {(row["image_name"], normalized(row["question"])) for row in rows if _is_test(row)}
    result: dict[Path, list[Question]] = {}
    for row in rows:
        if _split(row) != split:
            continue
        wordings = [" ".join(str(row[key]).split()) for key in ("question", "question_rephrase")]
        texts = [text for text in wordings if normalized(text) not in _NOTHING]
        if split == "test":
            texts = texts[:1]
        else:
            texts = [text for text in texts if (row["image_name"], normalized(text)) not in tested]
        if texts:
            asked = result.setdefault(root / "images" / row["image_name"], [])
            if not asked and split == "train":
                asked.extend(_of_body(row))
            asked.append(_question(row, tuple(texts)))
    return {image: tuple(questions) for image, questions in result.items()}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(gzip.decompress(path.read_bytes()))
        assert isinstance(rows, list) and all("phrase_type" in row for row in rows)
    except (OSError, ValueError, AssertionError, EOFError, TypeError) as error:
        raise UnreadableFileError(f"{path} cannot be read ({error}). Give the folder of VQA-RAD.") from error
    return rows


def _question(row: dict[str, Any], texts: tuple[str, ...]) -> Question:
    answer = normalized(row["answer"])
    kind = _TYPES.get(str(row["question_type"]).partition(",")[0].strip().upper(), "other")
    is_closed = str(row["answer_type"]).strip().upper() == "CLOSED"
    return Question(texts, answer, YES_NO if answer in ("yes", "no") else kind, is_closed, str(row["qid"]))


def _of_body(row: dict[str, Any]) -> Iterator[Question]:
    """What the data set says of an image, as questions."""
    part = _BODY.get(str(row.get("image_organ")))
    if part is None:
        return
    yield Question(_BODY_WORDINGS, part, "organ", is_closed=False)
    for other in _BODY.values():
        texts = (f"Is this the {other}?", f"Does this image show the {other}?")
        yield Question(texts, "yes" if other == part else "no", YES_NO, is_closed=True)


def _is_test(row: dict[str, Any]) -> bool:
    return str(row["phrase_type"]).startswith("test")


def _split(row: dict[str, Any]) -> str:
    if _is_test(row):
        return "test"
    return "train" if zlib.crc32(str(row["image_name"]).encode()) % _HELD_OUT else "val"
