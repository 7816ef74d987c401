import json

import pytest
from hypothesis import given

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.prompts.structure import NOTHING_SAID, Location, StructuredPrompt
from Testing.engine.prompts.strategies import PROMPTS


@given(PROMPTS)
def test_a_prompt_comes_back_from_json(prompt: StructuredPrompt) -> None:
    assert StructuredPrompt.from_dict(json.loads(json.dumps(prompt.to_dict()))) == prompt


def test_prompts_that_say_the_same_are_equal() -> None:
    left, lower_right, open_place = Location("", "left"), Location("lower", "right"), Location()
    prompt = StructuredPrompt(locations=(left, lower_right, open_place, left))
    assert prompt == StructuredPrompt(locations=(lower_right, left))
    assert prompt.locations == (lower_right, left)  # what is open comes last
    assert StructuredPrompt(locations=(open_place,)) == NOTHING_SAID


def test_places_are_kept_row_by_row() -> None:
    rows = (Location("upper", "right"), Location("middle", "left"), Location("lower", "central"), Location("", "left"))
    assert StructuredPrompt(locations=rows[::-1]).locations == rows


def test_missing_fields_of_json_say_nothing() -> None:
    assert StructuredPrompt.from_dict({"size": "small"}) == StructuredPrompt(size="small")


def test_a_word_that_is_not_of_the_grammar_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no shape in prompts named 'rounded'\. Did you mean 'round'"):
        StructuredPrompt(shape="rounded")
    with pytest.raises(UnknownNameError, match="Did you mean 'upper'"):
        Location("upperr")
    with pytest.raises(UnknownNameError, match="'sizes'"):
        StructuredPrompt.from_dict({"sizes": "small"})


@pytest.mark.parametrize("values", [[], {"size": 3}, {"locations": "left"}])
def test_json_of_another_form_is_refused(values: object) -> None:
    with pytest.raises(LeanSegError, match="prompt"):
        StructuredPrompt.from_dict(values)
