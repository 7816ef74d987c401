import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanseg.prompts.parse import MAX_CHARACTERS, Parsed, parse, summary
from leanseg.prompts.render import render
from leanseg.prompts.structure import NOTHING_SAID, StructuredPrompt
from Testing.engine.prompts.strategies import PROMPTS


def warned(parsed: Parsed, *parts: str) -> bool:
    return any(all(part in warning for part in parts) for warning in parsed.warnings)


@given(PROMPTS)
@settings(max_examples=200, deadline=None)
def test_the_canonical_sentence_is_read_back(prompt: StructuredPrompt) -> None:
    parsed = parse(render(prompt))
    assert parsed.prompt == prompt
    assert not parsed.ignored


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("2 roundish nodules left and lower right", "two · round · lower right + left"),
        ("big tumour, upper quadrant", "upper · large"),
        ("largest one on the right", "one · right · large"),
        ("the two largest masses", "two · large"),
        ("the larger of the two masses", "one · large"),
        ("left upper", "upper left"),
        ("LARGE IRREGULAR MASS, RIGHT", "irregular · right · large"),
        ("mass top-left/bottom-right", "upper left + lower right"),
        ("left and right", "left + right"),
        ("left, upper", "upper left"),
        ("a mass on the left, small, upper", "one · upper left · small"),
        ("upper and lower left", "upper left + lower left"),
        ("bilateral masses", "left + right"),
        ("in the middle", "middle central"),
        ("upper middle", "upper central"),
        ("center left", "middle left"),
        ("one mass upper left and one lower right", "two · upper left + lower right"),
        ("a left and a right mass", "left + right"),
        ("several, 7 lesions", "several"),
        ("well-defined mid-sized lump", "smooth margin · medium"),
        ("ill defined lesion, T2", "indistinct margin · MRI"),
        ("show us the mass", ""),
        ("sonography: 3 nodules", "three · ultrasound"),
    ],
)
def test_what_a_person_types_is_understood(text: str, understood: str) -> None:
    parsed = parse(text)
    assert summary(parsed.prompt) == understood
    assert parsed.ignored == parsed.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        *("no mass", "No tumour visible", "nothing", "without lesion", "normal breast", "tumor-free", "0 masses"),
        *("the tumor is not visible", "mass not seen", "no evidence of a tumor", "negative for cancer"),
    ],
)
def test_no_tumor_in_many_words(text: str) -> None:
    assert parse(text) == Parsed(StructuredPrompt("no"), parse(text).understood)


def test_misspellings_are_read_and_said() -> None:
    parsed = parse("One iregular mass, meduim size, upperr left")
    assert summary(parsed.prompt) == "one · irregular · upper left · medium"
    for typed, meant in (("iregular", "irregular"), ("meduim", "medium"), ("upperr", "upper")):
        assert warned(parsed, f'"{typed}" is read as "{meant}"')
    assert summary(parse("poorlly definedd mass").prompt) == "indistinct margin"


def test_words_between_two_spellings_are_not_guessed() -> None:
    assert parse("nose").ignored == ("nose",)  # one letter from "node" as from "none"


def test_spans_point_at_the_words_as_typed() -> None:
    text = "Two  WELL-defined masses, upperr left"
    said = {text[span.start : span.end]: span.meaning for span in parse(text).understood}
    assert said == {
        **{"Two": "number: two", "WELL-defined": "margin: smooth", "masses": "mass"},
        **{"upperr": "place: upper", "left": "place: left"},
    }


def test_words_of_another_language_are_named() -> None:
    parsed = parse("tumor links oben")
    assert (parsed.prompt, parsed.ignored) == (NOTHING_SAID, ("links", "oben"))
    assert warned(parsed, '"links", "oben"', "English", "German")
    cyrillic = parse("опухоль слева")
    assert cyrillic.ignored == ("опухоль", "слева")
    assert warned(cyrillic, "English") and warned(cyrillic, "any tumor is looked for")


def test_emoji_are_named() -> None:
    parsed = parse("😀 tumor left")
    assert summary(parsed.prompt) == "left"
    assert warned(parsed, "😀", "not read")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_says_what_happens(text: str) -> None:
    assert parse(text) == Parsed(NOTHING_SAID, warnings=("The prompt is empty: any tumor is looked for.",))


def test_a_very_long_prompt_is_cut_and_says_so() -> None:
    parsed = parse("mass left " * 1000)
    assert warned(parsed, "10000", str(MAX_CHARACTERS))
    assert max(span.end for span in parsed.understood) <= MAX_CHARACTERS
    assert max(len(warning) for warning in parse("ツ" * 10000).warnings) < 300


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("upper lower mass", ('"upper lower"', "contradict")),
        ("upper left right", ("contradict",)),
        ("no large mass", ("no tumor", '"large"')),
        ("no mass, upper left", ("no tumor", '"upper left"')),
        ("small big tumor", ("one size", '"small" is used', '"big" is not')),
        ("round oval mass", ("one shape", '"oval" is not')),
        ("one or two masses", ("one number", '"one" is used')),
        ("one mass, left and right", ("one mass in 2 places",)),
        ("two masses: upper left, upper right and lower left", ("two masses in 3 places",)),
        ("smooth fuzzy mass", ("one margin",)),
        ("MRI or ultrasound", ("one kind of image",)),
        ("mass left or right", ('"or" is not read', '"left or right"')),
        ("mass, not on the right", ("Negations", '"not on the right"')),
        ("everything but the right mass", ("Exceptions are not read", '"everything but the right mass"')),
        ("masses except the one on the left, large", ("Exceptions are not read", '"except the one on the left"')),
    ],
)
def test_contradictions_are_named(text: str, parts: tuple[str, ...]) -> None:
    assert warned(parse(text), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("liver lesion", ('"liver"', "the model knows ultrasound and MRI of the breast")),
        ("CT of the lung", ('"CT"', "on other images")),
        ("upper outer quadrant", ('"outer"', "without a field")),
        ("upper outer quadrant", ("say left or right",)),
        ("hypoechoic mass with shadowing", ('"hypoechoic", "shadowing"',)),
        ("3 cm mass at 9 o'clock, BI-RADS 4", ('"3 cm", "9 o\'clock", "BI-RADS 4"', "not used")),
        ("mass without calcification", ('"without calcification"', "Negations")),
        ("not round mass", ('"not round"', "Negations")),
        ("no other mass", ('"no other"', "Negations")),
        ("spiculated margin", ('"spiculated margin"', "shape")),
        ("mass of the left breast", ('"left breast"', "place in the image")),
        ("crisp margins", ('"margins"', "smooth or indistinct")),
    ],
)
def test_words_that_no_field_holds_are_named(text: str, parts: tuple[str, ...]) -> None:
    assert warned(parse(text), *parts)


def test_what_is_denied_is_not_said() -> None:
    assert parse("not round mass").prompt == NOTHING_SAID
    assert parse("mass without spiculations").prompt == NOTHING_SAID
    assert parse("3 cm mass at 2 o'clock").prompt == NOTHING_SAID  # neither is a number of masses


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_without_an_error(text: str) -> None:
    parsed = parse(text)
    assert all(text[span.start : span.end].strip() for span in parsed.understood)


@pytest.mark.parametrize(
    ("text", "understood"),
    [
        ("the mass, not on the right", ""),
        ("everything but the right mass", ""),
        ("all but one mass", ""),
        ("large masses other than the left one", "large"),
        ("mass on the left but not on the right", "left"),
        ("mass left or right", "left + right"),
    ],
)
def test_what_is_denied_or_excepted_or_left_open_is_marked(text: str, understood: str) -> None:
    parsed = parse(text)
    assert parsed.is_partly_unread and summary(parsed.prompt) == understood


@pytest.mark.parametrize("text", ["nothing but the left mass", "small but irregular mass, left", "mass", "no mass"])
def test_what_is_read_as_it_is_said_is_not_marked(text: str) -> None:
    parsed = parse(text)
    assert not parsed.is_partly_unread and parsed.warnings == ()
