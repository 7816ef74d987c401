import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leanseg.errors import UnknownNameError, UnreadableFileError
from leanseg.training.data.questions import YES_NO, Question
from leanseg.training.data.vqa_rad import SPLITS, read_questions
from Testing.engine.training.asked_pictures import row

Write = Callable[[list[dict[str, Any]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(rows: list[dict[str, Any]]) -> Path:
        (tmp_path / "vqa_rad.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
        return tmp_path

    return written


def everything(root: Path, split: str) -> list[Question]:
    return [question for questions in read_questions(root, split).values() for question in questions]


def test_the_official_test_split_is_kept_and_images_of_val_are_not_trained_on(data_root: Path) -> None:
    root = data_root / "vqa_rad"
    train, val, test = (read_questions(root, split) for split in SPLITS)
    assert sum(len(q) for q in test.values()) == 451
    official = [q for part in (train, val) for questions in part.values() for q in questions if q.id]
    assert len(official) == 1797
    assert not set(train) & set(val) and len(val) >= 20
    assert all(image.is_file() for part in (train, val, test) for image in part)
    asked = {(image, text) for image, questions in test.items() for q in questions for text in q.texts}
    for part in (train, val):
        assert not asked & {(image, text) for image, questions in part.items() for q in questions for text in q.texts}


def test_a_rephrasing_is_another_wording_of_one_question(write: Write) -> None:
    root = write([row("a", "Is it   big?", "Yes", question_rephrase="Is this big?"), row("a", "How big?", "5cm")])
    first, second = everything(root, "train") + everything(root, "val")
    assert first.texts == ("Is it big?", "Is this big?") and second.texts == ("How big?",)


def test_a_training_image_is_asked_which_part_of_the_body_it_shows(data_root: Path) -> None:
    root = data_root / "vqa_rad"
    for questions in read_questions(root, "train").values():
        ours = [q for q in questions if not q.id]
        assert [q.answer for q in ours[1:]].count("yes") == 1 and len(ours) == 4
        said = next(q for q in ours[1:] if q.answer == "yes")
        assert ours[0].answer in said.texts[0] and ours[0].answer in ("head", "chest", "abdomen")
    for split in ("val", "test"):
        assert all(q.id for questions in read_questions(root, split).values() for q in questions)


def test_a_wording_that_the_test_asks_of_the_image_is_left_out(write: Write) -> None:
    rows = [
        row("a", "Is it big?", "Yes", question_rephrase="Is it LARGE"),
        row("a", "Is it large?", "Yes", phrase_type="test_para", question_rephrase="Is it huge?"),
    ]
    root = write(rows)
    assert [q.texts for q in everything(root, "train") + everything(root, "val")] == [("Is it big?",)]
    assert [q.texts for q in everything(root, "test")] == [("Is it large?",)]


def test_types_and_answers_are_read_as_they_are_meant(write: Write) -> None:
    root = write(
        [
            row("a", "Which?", "The MRI", question_type="MODALITY", answer_type="OPEN"),
            row("a", "Is it?", " yes.", question_type="SIZE, PRES", answer_type="CLOSED "),
            row("a", "Count?", 2, question_type="COUNT", answer_type="OPEN"),
            row("a", "What?", "x", question_type="Other", answer_type="OPEN"),
            row("a", "Left or right?", "Left", question_type="POS, PRES"),
        ]
    )
    found = [(q.answer, q.type, q.is_closed) for q in everything(root, "train") + everything(root, "val")]
    assert found == [
        ("mri", "modality", False),
        ("yes", YES_NO, True),
        ("2", "count", False),
        ("x", "other", False),
        ("left", "position", True),
    ]


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Is the left lung clear?", "yes", True),
        ("Where is it?", "right lobe", True),
        ("Which lung?", "bilateral", True),
        ("Is it on the side?", "no", True),
        ("Is it alright?", "yes", False),
        ("Is there a mass?", "no", False),
    ],
)
def test_what_knows_sides_is_recognized(text: str, answer: str, expected: bool) -> None:
    assert Question(("Is it?", text), answer, YES_NO, True).has_sides == expected


def test_bad_files_and_splits_are_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="Give the folder of VQA-RAD"):
        read_questions(tmp_path, "train")
    (tmp_path / "vqa_rad.json.gz").write_bytes(b"no gzip")
    with pytest.raises(UnreadableFileError, match="Give the folder of VQA-RAD"):
        read_questions(tmp_path, "train")
    with pytest.raises(UnknownNameError, match=r"'tests'.*Did you mean 'test'"):
        read_questions(write([]), "tests")
