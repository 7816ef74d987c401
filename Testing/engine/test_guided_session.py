import re
from pathlib import Path

import numpy as np
import pytest

from leanseg.api import Model, load_engine, segment
from leanseg.errors import LeanSegError
from leanseg.guided_session import GuidedSession, ParsedReference
from leanseg.inference.hints import NO_HINTS, Click, Hints
from leanseg.prompts.structure import NOTHING_SAID
from leanseg.references import refer
from leanseg.referring_session import ReferringSession
from leanseg.text_session import TextSession
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.referring_tiny import write_referring_bundle
from Testing.engine.test_referring_session import FIRST, LAST, picture
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dice


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(models: Path) -> Model:
    return load_engine(str(write_referring_bundle(models / "refers").folder))


@pytest.fixture
def guided(model: Model, models: Path) -> GuidedSession:
    """Descriptions: dark is tumor; so the picture has dark objects too, above the bright ones."""
    described = load_engine(str(write_text_bundle(models / "described").folder))
    array = np.full((1, 2, 64, 64), 110, np.uint8)
    array[..., FIRST | LAST] = 250
    array[..., 2:8, 20:44] = 5
    volume = Volume(array, VolumeGeometry((2, 64, 64), is_calibrated=False))
    return GuidedSession(TextSession(described, volume), "refers", lambda: ReferringSession(model, volume))


def test_a_sentence_that_tells_objects_apart_goes_to_the_model_that_reads_it(guided: GuidedSession) -> None:
    parsed = guided.understand("the second lesion from the left")
    assert isinstance(parsed, ParsedReference) and guided.refers("leftmost tumor")
    assert parsed.answered_by == (
        "refers answers, for this tells one of several by order. In the picture: The second lesion from the left."
    )
    found = guided.propose([0], "the leftmost lesion")[0]
    assert dice(found.mask, FIRST) > 0.9 and hasattr(found, "heat_map")


def test_a_description_goes_to_the_model_that_reads_those(guided: GuidedSession) -> None:
    for text in ("large irregular mass in the upper left", "the mass on the left", "tumor", ""):
        assert not guided.refers(text)
    found = guided.propose([0], "tumor")[0]
    assert not hasattr(found, "heat_map") and found.mask[4, 30] and not found.mask[FIRST].any()
    assert guided.understand("small mass, left").prompt.size == "small"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("not the leftmost lesion", 'Negation ("not") is not read. Say which object is meant'),
        ("the one with the largest below it", '"with" makes the other object the one that is meant. Say the'),
    ],
)
def test_a_sentence_that_cannot_be_read_is_refused_and_nothing_is_computed(
    guided: GuidedSession, text: str, line: str
) -> None:
    parsed = guided.understand(text)
    assert parsed.refusal.startswith(line) and parsed.prompt == NOTHING_SAID and not guided.refers(text)
    for hints in (NO_HINTS, Hints(clicks=(Click((0.0, 4.0, 30.0), True),))):
        with pytest.raises(LeanSegError, match=re.escape(line)):
            guided.propose([0], text, hints)
    assert guided.text.remembered == (), "no slice was looked at"


def test_what_is_a_description_too_is_taken_for_one_and_a_line_says_why(guided: GuidedSession) -> None:
    text = "the largest lesion in the upper left"
    parsed = guided.understand(text)
    assert parsed.warnings[0].startswith("One side is read") and not parsed.refusal
    assert parsed.warnings[0].endswith("It is taken for a description.") and parsed.prompt.size == "large"
    assert not hasattr(guided.propose([0], text)[0], "heat_map")


def test_clicks_correct_what_a_sentence_gave(guided: GuidedSession) -> None:
    text = "the leftmost lesion"
    first = guided.propose([0], text)[0]
    j, i = (int(x) for x in np.argwhere(FIRST).mean(axis=0))
    beside = Hints(clicks=(Click((0.0, 40.0, 10.0), True),))
    more = guided.propose([0], text, beside, {0: first.mask})[0]
    assert more.mask[40, 10] and more.mask[j, i], "added to what the sentence gave"
    said = guided.propose([0], "the largest lesion on the left", beside, {0: first.mask})[0]
    assert said.mask[4, 40], "of the sentence, the model of descriptions hears nothing"
    less = guided.propose([0], text, Hints(clicks=(Click((0.0, float(j), float(i)), False),)), {0: first.mask})[0]
    assert not less.mask[j, i]
    again = guided.propose([0], text, Hints(clicks=(Click((0.0, float(j), float(i)), False),)))[0]
    assert not again.mask[j, i] and again.mask[FIRST].any(), "shown before it was said"
    elsewhere = guided.propose([1], text, Hints(clicks=(Click((1.0, 40.0, 10.0), True),)))[1]
    assert elsewhere.mask[40, 10] and not elsewhere.mask[j, i], "where nothing was proposed, pointing counts alone"


def test_a_model_of_descriptions_refuses_such_sentences_and_looks_at_nothing(models: Path) -> None:
    described = load_engine(str(write_text_bundle(models / "described").folder))
    dark = picture().with_array(255 - picture().array)
    session = TextSession(described, dark)
    for prompt in ("second from the left", "the one with the largest below it"):
        line = f'"{prompt}" tells one object from others by rank, order or relation.'
        assert session.understand(prompt).refusal.startswith(line)
        with pytest.raises(LeanSegError, match=re.escape(line)):
            session.propose([0], prompt)
        with pytest.raises(LeanSegError, match=re.escape(line)):
            segment(dark, described, prompt=prompt)
    assert session.remembered == ()
    for prompt in ("the largest one", "mass, left", ""):
        assert segment(dark, described, prompt=prompt).mask("lesion").any()


def test_the_facade_of_sentences_refuses_a_relation_the_other_way_round(model: Model) -> None:
    for ask in (lambda text: refer(picture(), text, model), lambda text: segment(picture(), model, prompt=text)):
        with pytest.raises(LeanSegError, match='"with" makes the other object the one that'):
            ask("the one with the largest below it")
