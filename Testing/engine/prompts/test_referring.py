import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, UnknownNameError
from leanseg.prompts.directions import mirrored
from leanseg.prompts.referring import (
    EXPRESSIONS,
    KINDS,
    NO_OBJECT,
    QUALITIES,
    UNCLEAR,
    Expression,
    Pick,
    Scene,
    SceneObject,
    draw_reference,
    mirrored_expression,
    read_scene,
    referent,
)
from leanseg.prompts.referring_words import NOUNS, sentence


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Up to six objects anywhere, many of them too much alike to be told apart."""
    number = draw(st.integers(0, 6))
    unit = st.integers(0, 40).map(lambda n: n / 40)
    values = [
        SceneObject(label, 10.0 * draw(st.integers(1, 20)), 0.75 * draw(unit), draw(unit), draw(unit))
        for label in range(1, number + 1)
    ]
    return Scene(tuple(values), 0.75, 1.0)


def squares(*places: tuple[int, int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels and picture of 60 x 80 with squares (row, column, side, gray)."""
    labels, image = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    image[0, 0] = 250  # outside of all: the range does not depend on the objects
    for label, (j, i, side, gray) in enumerate(places, start=1):
        labels[j : j + side, i : i + side] = label
        image[j : j + side, i : i + side] = gray
    return labels, image


FOUR = squares((4, 6, 12, 50), (8, 60, 6, 100), (40, 10, 8, 150), (35, 55, 16, 200))
"""Upper left, upper right (smallest), lower left, lower right (largest, brightest)."""


@pytest.mark.parametrize(
    ("text", "expression", "label"),
    [
        ("The largest lesion.", Expression(Pick("largest")), 4),
        ("The second largest lesion.", Expression(Pick("largest", 2)), 1),
        ("The darkest lesion.", Expression(Pick("darkest")), 1),
        ("The second lesion from the bottom.", Expression(Pick("lowermost", 2)), UNCLEAR),
        ("The rightmost lesion.", Expression(Pick("rightmost")), UNCLEAR),
        ("The second lesion from the left.", Expression(Pick("leftmost", 2)), UNCLEAR),
        ("The smallest lesion in the lower half.", Expression(Pick("smallest"), "lower"), 3),
        ("The largest lesion on the left.", Expression(Pick("largest"), "left"), 1),
        ("The lesion on the left.", Expression(Pick(), "left"), UNCLEAR),
        ("The lesion left of the largest one.", Expression(Pick(), "", "left of", Pick("largest")), UNCLEAR),
        ("The lesion right of the darkest one.", Expression(Pick(), "", "right of", Pick("darkest")), UNCLEAR),
        ("The lesion next to the largest one.", Expression(Pick(), "", "next to", Pick("largest")), 2),
        ("The lesion.", Expression(), UNCLEAR),
    ],
)
def test_what_sentences_refer_to_in_a_picture_of_four(text: str, expression: Expression, label: int) -> None:
    assert sentence(expression) == text
    assert referent(expression, read_scene(*FOUR)) == label


def test_what_is_not_there_is_no_object() -> None:
    row = read_scene(*squares((20, 2, 8, 40), (20, 14, 5, 90), (20, 26, 12, 150)))
    nothing = [
        Expression(Pick("leftmost", 4)),
        Expression(Pick("largest"), "right"),
        Expression(Pick(), "", "left of", Pick("leftmost")),
        Expression(Pick("brightest"), "", "right of", Pick("largest")),
    ]
    assert [referent(one, row) for one in nothing] == [NO_OBJECT] * 4
    there = [
        Expression(Pick("leftmost", 3)),
        Expression(Pick(), "", "left of", Pick("darkest")),
        Expression(Pick(), "", "right of", Pick("smallest")),
        Expression(Pick("smallest"), "", "left of", Pick("largest")),
    ]
    assert [referent(one, row) for one in there] == [3, NO_OBJECT, 3, 2]


def test_one_alone_is_the_lesion_and_in_an_empty_picture_there_is_none() -> None:
    assert referent(Expression(), read_scene(*squares((20, 10, 8, 40)))) == 1
    empty = read_scene(*squares())
    assert {referent(expression, empty) for expression in EXPRESSIONS} == {NO_OBJECT}
    assert draw_reference(empty, np.random.default_rng(0)) is None


def test_a_scene_is_measured_on_the_longer_side_and_specks_do_not_count() -> None:
    labels, image = squares((10, 20, 10, 125), (40, 60, 3, 200))
    scene = read_scene(labels, image)
    assert (scene.height, scene.width) == (0.75, 1.0)
    assert scene.objects == (SceneObject(1, 100.0, 15 / 80, 25 / 80, 0.5),)


def beats(one: SceneObject, other: SceneObject, quality: str) -> bool:
    return {
        **{"largest": one.area > other.area, "smallest": one.area < other.area},
        **{"brightest": one.brightness > other.brightness, "darkest": one.brightness < other.brightness},
        **{"leftmost": one.x < other.x, "rightmost": one.x > other.x},
        **{"uppermost": one.y < other.y, "lowermost": one.y > other.y},
    }[quality]


def meant(expression: Expression, scene: Scene) -> set[int]:
    """By counting, without margins: all objects of which the sentence is literally true."""

    def by_rank(pick: Pick, among: list[SceneObject]) -> list[SceneObject]:
        if not pick.quality:
            return among
        return [o for o in among if sum(beats(p, o, pick.quality) for p in among) == pick.rank - 1]

    objects = list(scene.objects)
    half_x, half_y = scene.width / 2, scene.height / 2
    inside = {"left": lambda o: o.x < half_x, "right": lambda o: o.x > half_x}
    inside |= {"upper": lambda o: o.y < half_y, "lower": lambda o: o.y > half_y}
    if expression.side:
        objects = [o for o in objects if inside[expression.side](o)]
    elif expression.anchor is not None:
        anchors = by_rank(expression.anchor, objects)
        found = []
        for anchor, o in itertools.product(anchors, objects):
            distances = [np.hypot(p.x - anchor.x, p.y - anchor.y) for p in objects if p != anchor]
            is_so = {
                **{"left of": o.x < anchor.x, "right of": o.x > anchor.x},
                **{"above": o.y < anchor.y, "below": o.y > anchor.y},
                "next to": o != anchor
                and np.isclose(np.hypot(o.x - anchor.x, o.y - anchor.y), min(distances, default=0)),
            }
            found += [o] if o != anchor and is_so[expression.relation] else []
        objects = found
    return {o.label for o in by_rank(expression.pick, objects)}


@given(scenes(), st.sampled_from(EXPRESSIONS))
def test_a_clear_sentence_is_true_of_one_object_or_of_none(scene: Scene, expression: Expression) -> None:
    label = referent(expression, scene)
    if label != UNCLEAR:
        assert meant(expression, scene) == (set() if label == NO_OBJECT else {label})


@given(scenes(), st.integers(0, 99), st.booleans())
def test_what_is_drawn_is_clear_and_true(scene: Scene, seed: int, absent: bool) -> None:
    drawn = draw_reference(scene, np.random.default_rng(seed), absent)
    if drawn is not None:
        assert (drawn.label == NO_OBJECT) == absent
        assert meant(drawn.expression, scene) == ({drawn.label} - {NO_OBJECT})
        assert drawn == draw_reference(scene, np.random.default_rng(seed), absent)


@given(scenes(), st.sampled_from(EXPRESSIONS), st.booleans(), st.booleans())
def test_flipping_picture_and_expression_refers_to_the_same(
    scene: Scene, expression: Expression, horizontally: bool, vertically: bool
) -> None:
    flipped = tuple(
        one._replace(x=scene.width - one.x if horizontally else one.x, y=scene.height - one.y if vertically else one.y)
        for one in scene.objects
    )
    said = mirrored_expression(expression, horizontally, vertically)
    found = {referent(expression, scene), referent(said, scene._replace(objects=flipped))}
    assert len(found) == 1 or UNCLEAR in found, "rounding may take what is barely clear"
    assert mirrored_expression(said, horizontally, vertically) == expression


def test_every_kind_is_drawn_in_a_picture_that_has_it() -> None:
    scene, rng = read_scene(*squares((4, 4, 10, 40), (22, 30, 6, 90), (40, 60, 14, 150))), np.random.default_rng(0)
    kinds = {drawn.expression.kind for _ in range(200) if (drawn := draw_reference(scene, rng))}
    assert kinds == set(KINDS) - {"only"}
    absent = {drawn.expression.kind for _ in range(200) if (drawn := draw_reference(scene, rng, absent=True))}
    assert {"order", "relation"} <= absent
    assert {expression.kind for expression in EXPRESSIONS} == set(KINDS)


def test_no_wording_means_two_things() -> None:
    rng, means = np.random.default_rng(0), {}
    for expression in EXPRESSIONS:
        for text in {sentence(expression, rng=rng) for _ in range(8)} | {sentence(expression)}:
            assert means.setdefault(text, expression) == expression, text
    assert len(EXPRESSIONS) == len(set(EXPRESSIONS)) < len(means)


@pytest.mark.parametrize(("horizontally", "vertically"), [(True, False), (False, True)])
def test_flipped_words_are_the_words_of_the_flipped_expression(horizontally: bool, vertically: bool) -> None:
    for expression in EXPRESSIONS:
        said = mirrored_expression(expression, horizontally, vertically)
        assert mirrored(sentence(expression), horizontally, vertically) == sentence(said)


def test_sentences_are_short_and_start_and_end_as_such() -> None:
    rng = np.random.default_rng(1)
    for expression in EXPRESSIONS:
        for noun in NOUNS:
            text = sentence(expression, noun, rng)
            assert text.startswith("The ") and text.endswith(".") and len(text.split()) <= 18, text


def test_what_the_grammar_cannot_say_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'rightmos'\. Did you mean 'rightmost'"):
        Pick("rightmos")
    with pytest.raises(UnknownNameError, match="side"):
        Expression(side="front")
    with pytest.raises(UnknownNameError, match="relation"):
        Expression(relation="inside", anchor=Pick("largest"))
    with pytest.raises(ValueError, match="rank lies from 1 to 4"):
        Pick("largest", 5)
    with pytest.raises(ValueError, match="needs its anchor"):
        Expression(relation="above")
    with pytest.raises(ValueError, match="rank above 1"):
        Expression(Pick(QUALITIES[0], 2), "left")
    with pytest.raises(ValueError, match="say no quality"):
        Expression(Pick("largest"), "", "next to", Pick("smallest"))
    with pytest.raises(IncompatibleInputError, match=r"\(3, 4\) came with a picture of shape \(4, 3\)"):
        read_scene(np.zeros((3, 4), np.uint8), np.zeros((4, 3)))
