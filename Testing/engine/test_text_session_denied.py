"""What is denied, by the network or by the person, and sides that are said of the picture."""

import numpy as np
import pytest

from leanseg.api import Model, load_engine
from leanseg.inference.hints import Click, Hints
from leanseg.text_session import TextSession
from Testing.engine.test_text_session import BOTH, LOWER_RIGHT, UPPER_LEFT, mri, only, picture
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dice, ellipse


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_engine(str(write_text_bundle(tmp_path_factory.mktemp("models") / "told").folder))


def test_a_true_prompt_that_the_network_denies_outlines_what_was_named(model: Model) -> None:
    """This network allows nothing where left and right are said together; it finds both masses where nothing is."""
    proposal = TextSession(model, picture()).propose([0], "two masses, upper left and lower right")[0]
    assert dice(proposal.mask, BOTH) > 0.9 and not proposal.is_absent and proposal.reason == ""
    assert proposal.existence > 0.99, "as it says of what is outlined"
    (one,) = TextSession(model, picture(LOWER_RIGHT)).propose([0], "masses left and right").values()
    assert dice(one.mask, LOWER_RIGHT) > 0.9, "of two places the one where something is"
    other_too = picture(BOTH | ellipse((64, 64), (0.1, 0.1), (0.25, 0.75)))
    named = TextSession(model, other_too).propose([0], "two masses, upper left and lower right")[0]
    assert dice(named.mask, BOTH) > 0.9, "what was not named stays out"
    assert dice(named.probability > 0.5, BOTH) > 0.9


def test_what_is_denied_does_not_depend_on_how_many_slices_are_asked_at_once(model: Model) -> None:
    session = TextSession(model, picture(np.stack([BOTH] * 9)))
    all_of_them = session.propose(range(9), "masses left and right")
    assert all(dice(one.mask, BOTH) > 0.9 for one in all_of_them.values())


@pytest.mark.parametrize("text", ["mass, not on the right", "everything but the right mass"])
def test_the_network_does_not_hear_what_is_denied(model: Model, text: str) -> None:
    """It knows the word `right`, and would leave out what is left."""
    session = TextSession(model, picture(UPPER_LEFT))
    proposal = session.propose([0], text)[0]
    assert dice(proposal.mask, UPPER_LEFT) > 0.9
    assert dice(only(TextSession(model, picture()), text), BOTH) > 0.9, "a denial leaves nothing out"
    assert any("not used" in line or "not read" in line for line in session.understand(text).warnings)


@pytest.mark.parametrize("text", ["mass on the left side of the image", "image left", "viewer's left"])
def test_a_side_of_the_image_is_turned_into_the_patients(model: Model, text: str) -> None:
    """The patient's right, where i is large, is left in the picture that Slicer shows."""
    session = TextSession(model, mri(), "mri")
    assert dice(only(session, text), LOWER_RIGHT) > 0.9
    parsed = session.understand(text)
    assert [place.horizontal for place in parsed.prompt.locations] == ["right"]
    assert "Left of the picture is the patient's right here, and is read so." in parsed.warnings
    ultrasound = TextSession(model, picture())
    assert dice(only(ultrasound, text), UPPER_LEFT) > 0.9
    assert not any("patient" in line for line in ultrasound.understand(text).warnings)


def test_a_denying_click_holds_for_what_is_found_without_the_words_too(model: Model) -> None:
    denied = Hints((Click((0, 16, 16), positive=False),))
    mask = only(TextSession(model, picture()), "masses left and right", hints=denied)
    assert not mask[16, 16] and dice(mask & LOWER_RIGHT, LOWER_RIGHT) > 0.9
