import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanseg.prompts.directions import PictureFrame, edge_of
from leanseg.prompts.paraphrase import absent, generic, paraphrase
from leanseg.prompts.referring import EXPRESSIONS, Expression, Pick
from leanseg.prompts.referring_read import EXAMPLES, MOST_CHARACTERS, no_description, read_reference
from leanseg.prompts.referring_words import NOUNS, sentence
from leanseg.prompts.render import render
from leanseg.prompts.structure import NOTHING_SAID, StructuredPrompt
from Testing.engine.prompts.strategies import PROMPTS

AXIAL, SAGITTAL, CORONAL = PictureFrame("R", "A", "I"), PictureFrame("A", "S", "R"), PictureFrame("R", "S", "A")


def heard(text: str, frame: PictureFrame = PictureFrame()) -> str:  # noqa: B008 - frozen
    """What a network is told; "" where nothing can be read."""
    reading = read_reference(text, frame)
    assert (reading.expression is None) == bool(reading.problem) and "\n" not in reading.problem
    return sentence(reading.expression, reading.noun) if reading.expression else ""


def test_every_wording_of_the_grammar_is_read_and_all_but_two_kinds_tell_objects_apart() -> None:
    rng = np.random.default_rng(0)
    for n, expression in enumerate(EXPRESSIONS):
        for noun, drawn in ((NOUNS[n % len(NOUNS)], None), (NOUNS[(n + 1) % len(NOUNS)], rng), ("one", rng)):
            text = sentence(expression, noun, drawn)
            reading = read_reference(text.lower() if n % 2 else text)
            assert (reading.expression, reading.noun, reading.remarks) == (expression, noun, ()), text
            is_description = expression.kind == "only" or (expression.kind == "side" and not expression.pick.quality)
            assert reading.is_relational != is_description, text


@given(PROMPTS, st.integers(0, 2**32 - 1))
def test_no_description_is_taken_for_a_sentence_that_tells_objects_apart(prompt: StructuredPrompt, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for text in (render(prompt), paraphrase(prompt, rng), generic(rng), absent(rng), render(NOTHING_SAID)):
        assert not read_reference(text).is_relational, text


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("the larger of the two on the left", "The largest lesion on the left."),
        ("the bright one next to the largest", "The one next to the largest one."),
        ("second from the top", "The second lesion from the top."),
        ("2nd from left", "The second lesion from the left."),
        ("the leftmost lesion", "The leftmost lesion."),
        ("left-most tumour please", "The leftmost tumor."),
        ("the last one from the left", "The rightmost one."),
        ("the upper of the two", "The uppermost lesion."),
        ("the lowest mass", "The lowermost mass."),
        ("the second highest one", "The second one from the top."),
        ("the lesion with the highest intensity", "The brightest lesion."),
        ("the one of lowest signal", "The darkest one."),
        ("the highest-intensity lesion", "The brightest lesion."),
        ("the mass with the lowest mean T2 signal", "The darkest mass."),
        ("the left one of the two masses", "The leftmost lesion."),
        ("the one below the brightest", "The one below the brightest one."),
        ("outline the smallest of the three lesions", "The smallest lesion."),
        ("Which one is the darkest?", "The darkest one."),
        ("the lesion nearest the largest", "The lesion next to the largest one."),
        ("the small one above the brightest", "The smallest one above the brightest one."),
        ("lesion on the left of the largest lesion", "The lesion left of the largest one."),
        ("the lagest leison", "The largest lesion."),
        ("the second to largest lesion", "The second largest lesion."),
        ("second to the largest", "The second largest lesion."),
        ("the second-to-brightest mass", "The second brightest mass."),
        ("the next largest lesion", "The second largest lesion."),
        ("first, the largest lesion", "The largest lesion."),
        ("the furthest left lesion", "The leftmost lesion."),
        ("by far the largest lesion", "The largest lesion."),
        ("the lesion that is brightest", "The brightest lesion."),
        ("the lesion which is on the left and largest", "The largest lesion on the left."),
        ("the lesion that is left of the brightest one", "The lesion left of the brightest one."),
        ("the lesion with the largest size", "The largest lesion."),
        ("the largest lesion with a smooth margin on the left", "The largest lesion on the left."),
    ],
)
def test_persons_say_it_in_their_own_words(typed: str, told: str) -> None:
    assert heard(typed) == told and read_reference(typed).is_relational


@pytest.mark.parametrize(
    "text",
    [
        *("large irregular mass in the upper left", "a larger mass in the upper left", "lesion left of the nipple"),
        *("first find the mass in the upper left", "mass left of the breast", "lesion above", "both lesions", "left"),
        *("the mass from the left", "second opinion: round mass", "mass next to the duct", "der größte Tumor", "", "?"),
    ],
)
def test_these_stay_with_the_models_that_read_descriptions(text: str) -> None:
    assert not read_reference(text).is_relational
    assert no_description(text, AXIAL) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("not the largest", 'Negation ("not")'),
        ("the lesion that is not left of the brightest", "Negation"),
        ("all but the largest lesion", "Negation"),
        ("the largest and the smallest", '"largest" and "smallest"'),
        ("the largest, darkest lesion", '"largest" and "darkest"'),
        ("the leftmost rightmost lesion", '"leftmost" and "rightmost"'),
        ("the largest lesion on the left, on the right", '"on the left" and "on the right"'),
        ("the largest lesion in the upper left", "One side is read"),
        ("the two largest masses", 'it says "two"'),
        ("the largest lesion left of the nipple", '"left of the nipple"'),
        ("the lesion left of the other one", '"left of" which one?'),
        ("the third mass", '"third" counted from where?'),
        ("fifth from the left", '"fifth" is not read; the model counts to 4'),
        ("larger than the darkest", '"than" is not read'),
        ("the lesion between the largest and the smallest", '"between" is not read'),
        ("the lesion overlapping the largest one", '"overlapping" is not read'),
        ("the largest in the middle", '"in the middle" is not read'),
        ("the second largest on the left", "more at once"),
        ("the lesion right of the second largest", "more at once"),
        ("the one under the darkest one left of the brightest one", "One relation is read"),
    ],
)
def test_what_would_lead_to_another_object_is_named_and_not_read(text: str, problem: str) -> None:
    reading = read_reference(text)
    assert reading.is_relational and reading.expression is None and problem in reading.problem
    assert len(reading.problem) < 200


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the lesion with the brightest one to its left", "with"),
        ("the lesion with the largest lesion below it", "with"),
        ("the largest lesion with one below", "with"),
        ("the lesion which has the largest one to the left of it", "has"),
        ("the lesion having the largest one above", "having"),
        ("the mass that the brightest mass is above", "that"),
        ("the lesion that the largest one is left of", "that"),
        ("the lesion which the brightest is next to", "which"),
        ("the lesion where the largest is above", "where"),
        ("the lesion whose left neighbor is the largest", "whose"),
        ("the lesion, to its left is the brightest", "its"),
        ("the one next to the largest neighbour", "neighbour"),
        ("the lesion flanked on the left by the largest", "by"),
        ("the lesion to the left of which is the largest one", "to the left of"),
        ("the brightest mass is above it", "above"),
        ("the brightest mass, on the left of it", "on the left of"),
        ("the mass the brightest is above", "above"),
        ("the mass the brightest is left of", "left of"),
        ("the brightest mass seen from it on the left", "it"),
    ],
)
def test_a_relation_the_other_way_round_is_not_read_as_a_side(text: str, word: str) -> None:
    reading = read_reference(text)
    assert reading.is_relational and reading.expression is None
    assert reading.problem == (
        f'"{word}" makes the other object the one that is meant. Say the lesion first and then where it is, '
        'e.g. "the lesion left of the brightest one".'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("the lesion farthest from the largest one", '"farthest" is not read. Far from'),
        ("the lesion furthest from the left one, the largest", '"furthest" is not read. Far from'),
        ("the lesion away from the largest one", '"away" is not read. Far from'),
        ("the lesion most far from the brightest", '"far" is not read. Far from'),
        ("the lesion most far left of the brightest", '"far" is not read. Far from'),
        ("the lesion isolated from the largest", '"from the largest" is not read. Far from'),
        ("the least bright lesion", '"least" is not read. Count from the first'),
        ("the less bright lesion", '"less" is not read. Count from the first'),
        ("the second after the largest", '"after" is not read. Count from the first'),
        ("the next to largest lesion", '"next to" is not read. Count from the first'),
        ("the next to last from the left", '"next to" is not read. Count from the first'),
        ("next to largest", '"next to" is not read. Count from the first'),
        ("the next lesion, the largest", '"next" is not read. Count from the first'),
        ("the second very largest lesion", '"second" of what?'),
        ("the largest second", '"second" of what?'),
        ("third to the largest", '"third" of what?'),
        ("the seventh largest lesion", "the model counts to 4"),
        ("the 11th largest lesion", "the model counts to 4"),
    ],
)
def test_no_word_of_rank_or_distance_is_dropped(text: str, problem: str) -> None:
    reading = read_reference(text)
    assert reading.expression is None and problem in reading.problem and reading.remarks == ()
    assert len(reading.problem) < 200 and "\n" not in reading.problem


def test_what_is_corrected_and_what_is_not_used_is_said() -> None:
    assert read_reference("brigtest roundd lesion").remarks == (
        '"brigtest" is read as "brightest".',
        'Not used: "roundd".',
    )
    assert read_reference("the hypoechoic one above the bright one").remarks == (
        '"bright" is read as "brightest".',
        'Not used: "hypoechoic".',
    )


@pytest.mark.parametrize(
    ("typed", "frame", "told"),
    [
        ("the leftmost lesion", AXIAL, "The rightmost lesion."),
        ("second from the left", AXIAL, "The second lesion from the right."),
        ("the one left of the largest", AXIAL, "The one right of the largest one."),
        ("the largest one on the right", AXIAL, "The largest one on the left."),
        ("the lesion anterior to the brightest", AXIAL, "The lesion above the brightest one."),
        ("the second from the top", AXIAL, "The second lesion from the top."),
        ("the most posterior lesion", SAGITTAL, "The rightmost lesion."),
        ("the most cranial lesion", CORONAL, "The uppermost lesion."),
        ("the leftmost lesion", SAGITTAL, ""),
        ("the lesion superior to the largest", AXIAL, ""),
    ],
)
def test_words_of_the_patient_become_words_of_the_picture(typed: str, frame: PictureFrame, told: str) -> None:
    assert heard(typed, frame) == told
    if not told:
        assert read_reference(typed, frame).problem.startswith("These slices cannot show")


def test_edges_are_where_the_directions_of_the_patient_lie() -> None:
    assert [edge_of(word, AXIAL) for word in ("left", "right", "top", "dorsal", "cranial")] == [
        *("right", "left", "upper", "lower", ""),
    ]
    assert [edge_of(word, PictureFrame()) for word in ("left", "ventral", "deep")] == ["left", "upper", "lower"]


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(("the", "second", "largest", "left", "of", "from", "not", "two", "one", "?"))).map(
        " ".join
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    for frame in (PictureFrame(), AXIAL):
        heard(text, frame)


def test_a_long_text_is_refused_at_once() -> None:
    reading = read_reference("the largest lesion " * 10_000)
    assert f"at most {MOST_CHARACTERS}" in reading.problem and not reading.is_relational


def test_a_model_of_descriptions_refuses_what_it_does_not_understand_in_one_line() -> None:
    assert no_description("the second\nlesion from the left", AXIAL) == (
        '"the second lesion from the left" tells one object from others by rank, order or relation. This model reads '
        'descriptions alone: say e.g. "large mass, upper left". Such sentences are read by cm_mask_sd, '
        f"{EXAMPLES}."
    )
    long = no_description("the second lesion from the left" + ", please" * 30, AXIAL)
    assert "please, ple…" in long and len(long) < 400


@pytest.mark.parametrize(
    "text",
    [
        *("the one with the largest below it", "not the largest", "all but the largest lesion", "the largest second"),
        *("the largest and the smallest", "the lesion farthest from the largest", "the third mass from the brightest"),
        *("the largest mass touching the smallest", "the second very largest lesion", "the brightest lesion"),
    ],
)
def test_a_description_would_mean_another_object(text: str) -> None:
    assert not read_reference(text).is_attribute_too and no_description(text, AXIAL)


@pytest.mark.parametrize(
    "text",
    [
        *("the largest lesion on the left", "the largest lesion in the upper left", "the two largest masses"),
        *("first, the largest lesion", "the smallest in the middle", "the largest lesion left of the nipple"),
    ],
)
def test_the_largest_and_the_smallest_are_also_described(text: str) -> None:
    assert read_reference(text).is_attribute_too and no_description(text, AXIAL) == ""


@pytest.mark.parametrize(
    "text", ["the lesion of highest density", "the lesion with the lowest ADC", "mass, lowest quadrant"]
)
def test_the_highest_of_something_else_is_no_place(text: str) -> None:
    reading = read_reference(text)
    assert not reading.is_relational and reading.expression == Expression(Pick())
