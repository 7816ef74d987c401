from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from leanseg.prompts.parse import parse
from leanseg.prompts.structure import Location
from leanseg.training.prompting import Mask, Person, Said, Seen
from leanseg.training.text_recipe import TextConfig

SIDE = 60
TALKS = TextConfig(generic=0.0, wrong=0.0, report=1.0, named=1.0)
ORGAN = np.ones((SIDE, SIDE), np.bool_)


def square(j: int, i: int, side: int = 8) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[j : j + side, i : i + side] = True
    return mask


UPPER_LEFT, LOWER_RIGHT = square(4, 4), square(48, 48)
TWO = Seen(UPPER_LEFT | LOWER_RIGHT, ORGAN, "mri")


def said(config: TextConfig, seen: Seen, number: int = 60) -> list[Said]:
    person = Person(config, np.random.default_rng(0))
    return [person.say(seen) for _ in range(number)]


def test_a_named_lesion_is_the_one_at_the_place_that_the_words_say() -> None:
    both = 0
    for one in said(TALKS, TWO):
        assert one.kind == "named"
        (place,) = parse(one.text).prompt.locations or (Location(),)
        expected = np.zeros_like(ORGAN)
        if place.vertical in ("", "upper") and place.horizontal in ("", "left"):
            expected |= UPPER_LEFT
        if place.vertical in ("", "lower") and place.horizontal in ("", "right"):
            expected |= LOWER_RIGHT
        both += bool((expected & UPPER_LEFT).any() and (expected & LOWER_RIGHT).any())
        assert np.array_equal(one.meaning, expected), one.text
    assert both == 0, "a name names one"


def test_wrong_prompts_mean_nothing_and_say_what_is_not_there() -> None:
    kinds: Counter[str] = Counter()
    for one in said(replace(TALKS, wrong=1.0), replace(TWO, lesions=UPPER_LEFT)):
        kinds[one.kind] += 1
        assert not one.meaning.any()
        prompt = parse(one.text).prompt
        assert (prompt.number == "no") == (one.kind == "absent")
        if one.kind == "wrong":
            (place,) = prompt.locations
            assert place.vertical in ("", "lower", "middle") or place.horizontal in ("", "right", "central")
            assert place not in (Location("upper", "left"), Location("upper"), Location(horizontal="left"))
    assert kinds["wrong"] > 20 and kinds["absent"] > 10


def test_without_a_lesion_whatever_is_said_means_nothing() -> None:
    empty = replace(TWO, lesions=np.zeros_like(ORGAN))
    for one in said(TextConfig(), empty):
        assert not one.meaning.any() and one.kind in ("generic", "wrong", "absent")


@pytest.mark.parametrize(("is_mirrored", "side"), [(False, "right"), (True, "left")])
def test_a_report_is_read_in_words_of_the_picture_as_it_was_turned(is_mirrored: bool, side: str) -> None:
    seen = replace(TWO, report="A mass in the right lobe. Edema around it.", is_mirrored=is_mirrored)
    texts = {one.text for one in said(TALKS, seen) if one.kind == "report"}
    assert f"A mass in the {side} lobe. Edema around it." in texts
    assert all(one.meaning.sum() == 128 for one in said(TALKS, seen))


def test_generic_prompts_do_not_leak_and_mean_everything() -> None:
    for one in said(replace(TALKS, generic=1.0), TWO):
        assert one.kind == "generic" and one.meaning.sum() == 128
        assert not parse(one.text).prompt.locations and not parse(one.text).prompt.size


def test_the_same_generator_says_the_same() -> None:
    assert [one.text for one in said(TextConfig(), TWO)] == [one.text for one in said(TextConfig(), TWO)]
