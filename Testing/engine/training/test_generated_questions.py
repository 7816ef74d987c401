from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data import generated_questions
from leanseg.training.data.brats import BratsCase
from leanseg.training.data.generated_questions import Shown, _mirrored, masses_of, of_brain, questions_about
from leanseg.training.data.questions import YES_NO
from leanseg.volume import Volume, VolumeGeometry

SIDE = 64


def shown(mask: NDArray[np.bool_], modality: str = "ultrasound", plane: str = "") -> Shown:
    return Shown(np.zeros((1, SIDE, SIDE), np.float32), mask, np.ones((SIDE, SIDE), np.bool_), modality, plane)


def disk(x: float, y: float = 0.5, radius: float = 5) -> NDArray[np.bool_]:
    j, i = np.indices((SIDE, SIDE))
    return (j - y * SIDE) ** 2 + (i - x * SIDE) ** 2 < radius**2


NOTHING = np.zeros((SIDE, SIDE), np.bool_)


def answers(of: Shown) -> dict[str, str]:
    """First wording -> answer."""
    return {question.texts[0]: question.answer for question in questions_about(of)}


def test_modality_and_plane_are_asked_openly_and_by_yes_and_no() -> None:
    found = answers(shown(NOTHING, "mri", "coronal"))
    assert found["What imaging modality is this?"] == "mri" and found["In which plane is this image?"] == "coronal"
    assert found["Is this an MRI?"] == "yes" and found["Is this an ultrasound image?"] == "no"
    assert [found[f"Is this {plane} image?"] for plane in ("an axial", "a coronal", "a sagittal")] == [
        "no",
        "yes",
        "no",
    ]
    assert "In which plane is this image?" not in answers(shown(NOTHING))


@pytest.mark.parametrize(("mask", "number"), [(NOTHING, "0"), (disk(0.3), "1"), (disk(0.2) | disk(0.8), "2")])
def test_masses_are_counted(mask: NDArray[np.bool_], number: str) -> None:
    found = answers(shown(mask))
    assert found["How many masses are there?"] == number
    assert found["Is there a mass?"] == ("no" if number == "0" else "yes")


def test_of_specks_nothing_is_asked_and_they_are_not_counted() -> None:
    speck = disk(0.3, radius=2)
    assert masses_of(speck) == [] and "Is there a mass?" not in answers(shown(speck))
    assert answers(shown(speck | disk(0.7)))["How many masses are there?"] == "1"


def test_the_side_of_a_brain_is_the_patients_and_that_of_ultrasound_the_pictures() -> None:
    left_of_picture = disk(0.25)
    assert answers(shown(left_of_picture, "mri", "axial"))["On which side of the patient is the tumor?"] == "right"
    assert answers(shown(left_of_picture))["In which half of the picture is the mass?"] == "left"
    for plane in ("axial", "coronal"):
        mirrored = answers(_mirrored(shown(left_of_picture, "mri", plane)))
        assert mirrored["On which side of the patient is the tumor?"] == "left"


def test_what_is_not_clear_is_not_asked() -> None:
    assert not any("half" in text for text in answers(shown(disk(0.52))))
    assert not any("side" in text for text in answers(shown(disk(0.2), "mri", "sagittal"))), "sides are not seen there"
    middling = disk(0.3, radius=SIDE * (0.055 / np.pi) ** 0.5)
    assert "How large is the mass?" not in answers(shown(middling))
    assert answers(shown(disk(0.3, radius=4)))["How large is the mass?"] == "small"
    assert answers(shown(disk(0.5, radius=14)))["How large is the mass?"] == "large"
    assert "How many masses are there?" not in answers(shown(disk(0.3), "mri", "axial")), "a glioma has no number"


def test_every_question_has_several_wordings_and_its_type() -> None:
    for question in questions_about(shown(disk(0.25), "mri", "axial")):
        assert len(question.texts) >= 2
        assert (question.type == YES_NO) == (question.answer in ("yes", "no"))


def test_each_sequence_is_mirrored_in_half_of_its_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    brain = np.random.default_rng(0).random((1, 40, 40, 40), dtype=np.float32) + 0.5
    tumor = np.zeros((1, 40, 40, 40), np.float32)
    tumor[:, 12:27, 12:27, 12:27] = 1
    geometry = VolumeGeometry((40, 40, 40))
    names = ("t1", "t1ce", "t2", "flair")
    monkeypatch.setattr(
        generated_questions, "read_sequences", lambda case: {name: Volume(brain, geometry) for name in names}
    )
    monkeypatch.setattr(generated_questions, "read_regions", lambda case: Volume(tumor, geometry))
    monkeypatch.setattr(generated_questions, "_mirrored", lambda shown: replace(shown, modality="mirrored"))
    found = defaultdict(list)
    for name, picture in of_brain(BratsCase("b", {}, None, "train", "b"), PreprocessingConfig(size_ji=(32, 32))):
        found[name.split(":")[1]].append(picture.modality == "mirrored")
    assert {name: (sum(some), len(some)) for name, some in found.items()} == dict.fromkeys(names, (3, 6))
