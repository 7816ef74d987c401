import numpy as np
from numpy.typing import NDArray

from leanseg.inference.absence import Asked
from leanseg.inference.prompt_heard import seen
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.render import render
from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt

ULTRASOUND, AXIAL = PictureFrame(), PictureFrame("R", "A", "I")
ORGAN = np.ones((60, 60), bool)
NOTHING = np.zeros((60, 60), bool)
UPPER_LEFT = StructuredPrompt(locations=(Location("upper", "left"),))


def mass(j: int, i: int) -> NDArray[np.bool_]:
    mask = NOTHING.copy()
    mask[j - 3 : j + 4, i - 3 : i + 4] = True
    return mask


def asked(prompt: StructuredPrompt, frame: PictureFrame = ULTRASOUND) -> Asked:
    """`prompt`: in words of the patient"""
    return Asked(seen(render(prompt), frame), frame, 0.5)


def test_a_tumor_elsewhere_is_named_with_its_place() -> None:
    reason = asked(UPPER_LEFT).absent(0.1, mass(50, 50), ORGAN)
    assert reason == "The prompt says upper left; what looks like a tumor lies lower right."


def test_places_are_those_of_the_patient() -> None:
    on_the_pictures_left = mass(10, 10)
    says_left, says_right = (asked(StructuredPrompt(locations=(Location("", s),)), AXIAL) for s in ("left", "right"))
    assert says_left.is_elsewhere(on_the_pictures_left, ORGAN)
    assert not says_right.is_elsewhere(on_the_pictures_left, ORGAN)
    reason = says_left.absent(0.1, on_the_pictures_left, ORGAN)
    assert reason == "The prompt says left; what looks like a tumor lies upper right."


def test_where_left_and_right_are_not_shown_a_person_is_told_anterior_and_posterior() -> None:
    sagittal = PictureFrame("A", "S", "R")
    behind = Asked(StructuredPrompt(locations=(Location("", "right"),)), sagittal, 0.5)
    reason = behind.absent(0.1, mass(10, 10), ORGAN)
    assert reason == "The prompt says posterior; what looks like a tumor lies upper anterior."


def test_a_place_nearby_is_not_elsewhere() -> None:
    assert not asked(UPPER_LEFT).is_elsewhere(mass(25, 25), ORGAN)
    assert asked(UPPER_LEFT).is_elsewhere(mass(50, 50), ORGAN)


def test_without_a_place_or_without_a_tumor_nothing_is_elsewhere() -> None:
    assert not asked(NOTHING_SAID).is_elsewhere(mass(50, 50), ORGAN)
    assert not asked(UPPER_LEFT).is_elsewhere(NOTHING, ORGAN)


def test_the_figures_are_named_where_the_place_explains_nothing() -> None:
    figures = "(probability to exist 0.12; 0.50 is needed)"
    assert asked(UPPER_LEFT).absent(0.12, NOTHING, ORGAN) == f"Nothing here looks like a tumor {figures}."
    reason = asked(StructuredPrompt(size="large")).absent(0.12, mass(10, 10), ORGAN)
    assert reason == (
        f"What looks like a tumor here (one · round · upper left · medium) does not fit the prompt {figures}."
    )


def test_of_any_tumor_those_are_meant_that_were_named_and_none_where_nothing_fits() -> None:
    left, right = mass(10, 10), mass(50, 50)
    two = StructuredPrompt(number="two", locations=(Location("upper", "left"), Location("lower", "right")))
    np.testing.assert_array_equal(asked(two).meant_of(left | right | mass(10, 50), ORGAN), left | right)
    np.testing.assert_array_equal(asked(two).meant_of(left, ORGAN), left)
    np.testing.assert_array_equal(asked(NOTHING_SAID).meant_of(left | right, ORGAN), left | right)
    of_the_patient = asked(StructuredPrompt(locations=(Location("", "left"),)), AXIAL)
    np.testing.assert_array_equal(of_the_patient.meant_of(left | right, ORGAN), right)
    for wrong in (UPPER_LEFT, StructuredPrompt(number="no"), StructuredPrompt(shape="irregular")):
        assert not asked(wrong).meant_of(right, ORGAN).any()
    assert not asked(UPPER_LEFT).meant_of(mass(25, 25), ORGAN).any(), "nearby is not there"


def test_no_tumor_is_what_was_said() -> None:
    no = asked(StructuredPrompt(number="no"))
    assert no.says_no and no.absent(0.9, NOTHING, ORGAN) == "The prompt says that there is no tumor."
    seen = no.absent(0.9, mass(10, 50), ORGAN)
    assert seen == (
        "The prompt says that there is no tumor. What looks like one lies upper right; a click there outlines it."
    )


def test_tumors_in_many_places_are_not_listed() -> None:
    many = mass(10, 10) | mass(10, 50) | mass(50, 10) | mass(30, 30)
    reason = asked(StructuredPrompt(locations=(Location("lower", "right"),))).elsewhere(many, ORGAN)
    assert reason == "The prompt says lower right; what looks like a tumor lies in several places."
