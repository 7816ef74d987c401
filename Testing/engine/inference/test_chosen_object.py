import numpy as np
import pytest

from leanseg.inference.chosen_object import decide, objects_in
from leanseg.inference.referring import Referred, ReferringConfig
from leanseg.prompts.referring import Expression, Pick
from leanseg.weights.card import FileCard

CONFIG = ReferringConfig(FileCard("tokenizer.json", "", 1), threshold=0.5, existence_threshold=0.4, finds_objects=True)
IMAGE = np.linspace(0, 1, 32 * 40, dtype=np.float32).reshape(32, 40)


def scene(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Objects from row to row and column to column, surely there."""
    objects = np.full((32, 40), 0.1, np.float32)
    for top, bottom, left, right in boxes:
        objects[top:bottom, left:right] = 0.9
    return objects


LARGE, SMALL, TWIN = (4, 16, 2, 14), (20, 26, 28, 36), (20, 26, 2, 10)


def found(objects: np.ndarray | None, own: tuple[int, int, int, int] = LARGE, existence: float = 0.9) -> Referred:
    """The network itself means `own`."""
    empty = np.zeros((4, 5), np.float32)
    return Referred(scene(own), existence, empty, (), objects)


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        (Expression(Pick("largest")), LARGE),
        (Expression(Pick("smallest")), SMALL),
        (Expression(Pick("rightmost")), SMALL),
        (Expression(Pick("largest", 2)), SMALL),
        (Expression(Pick(), relation="right of", anchor=Pick("largest")), SMALL),
    ],
)
def test_the_words_choose_whatever_the_network_would(expression: Expression, meant: tuple[int, int, int, int]) -> None:
    decision = decide(found(scene(LARGE, SMALL)), expression, IMAGE, CONFIG)
    assert np.array_equal(decision.probability >= 0.5, scene(meant) >= 0.5)
    assert not decision.reason and not decision.remark


def test_where_the_words_fit_several_the_network_decides() -> None:
    decision = decide(found(scene(LARGE, SMALL, TWIN), own=TWIN), Expression(Pick("smallest")), IMAGE, CONFIG)
    assert np.array_equal(decision.probability >= 0.5, scene(TWIN) >= 0.5)
    assert decision.remark == "Of 3 objects the words fit more than one equally well; the network's choice is shown."


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (found(scene(LARGE)), "One object is outlined, and none is what the sentence means."),
        (found(scene(LARGE, SMALL)), "2 objects are outlined, and none is what the sentence means."),
        (found(scene()), "Nothing is outlined that the sentence could mean."),
        (found(scene((3, 5, 3, 5))), "Nothing is outlined that the sentence could mean."),
        (
            found(scene(LARGE, SMALL, (4, 10, 30, 36)), existence=0.3),
            "There is no such object (probability to exist 0.30; 0.40 is needed).",
        ),
    ],
)
def test_what_there_is_not_is_said(seen: Referred, said: str) -> None:
    decision = decide(seen, Expression(Pick("largest", 3)), IMAGE, CONFIG)
    assert decision.reason == said and not decision.probability.any()


def test_a_network_that_tells_no_objects_decides_alone() -> None:
    sure, unsure = (decide(found(None, SMALL, p), Expression(Pick("largest")), IMAGE, CONFIG) for p in (0.9, 0.3))
    assert np.array_equal(sure.probability, scene(SMALL)) and not sure.reason
    assert unsure.reason.startswith("There is no such object")


def test_specks_are_no_objects_and_corners_join() -> None:
    labels = objects_in(scene((2, 8, 2, 8), (8, 14, 8, 14), (20, 22, 20, 22), (20, 30, 30, 34)), 0.5)
    assert labels.max() == 2 and labels[3, 3] == labels[9, 9] != labels[25, 31] and labels[20, 20] == 0
