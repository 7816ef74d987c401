import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanseg.errors import IncompatibleInputError
from leanseg.prompts.describe import describe
from leanseg.prompts.directions import PictureFrame, mirrored, named, pictured_text, pictured_word, turned, unseen
from leanseg.prompts.paraphrase import paraphrase
from leanseg.prompts.parse import parse
from leanseg.prompts.render import render
from leanseg.prompts.structure import Location, StructuredPrompt
from leanseg.prompts.words import LEXICON
from Testing.engine.prompts.strategies import PROMPTS

AXIAL = PictureFrame("R", "A", "I")
CORONAL = PictureFrame("R", "S", "A")
SAGITTAL = PictureFrame("A", "S", "R")
FACE_DOWN = PictureFrame("L", "P", "S")


def at(vertical: str, horizontal: str) -> StructuredPrompt:
    return StructuredPrompt("one", locations=(Location(vertical, horizontal),))


def pictured(prompt: StructuredPrompt, frame: PictureFrame) -> StructuredPrompt:
    """A prompt about the patient as one about the picture, by its words."""
    return parse(render(prompt), lambda word: pictured_word(word, frame)).prompt


@pytest.mark.parametrize(
    ("frame", "patient", "picture"),
    [
        (AXIAL, ("upper", "left"), ("upper", "right")),
        (AXIAL, ("middle", "central"), ("middle", "central")),
        (CORONAL, ("lower", "right"), ("lower", "left")),
        (FACE_DOWN, ("upper", "left"), ("lower", "left")),
        (SAGITTAL, ("upper", "left"), ("upper", "")),
        (PictureFrame("A", "R", "S"), ("upper", "left"), ("lower", "left")),  # upper means anterior: the left edge
        (PictureFrame("A", "R", "S"), ("middle", "right"), ("upper", "central")),
        (PictureFrame(), ("upper", "left"), ("upper", "left")),
    ],
)
def test_words_about_the_patient_become_words_about_the_picture(
    frame: PictureFrame, patient: tuple[str, str], picture: tuple[str, str]
) -> None:
    assert pictured(at(*patient), frame) == at(*picture)


@given(PROMPTS, st.sampled_from([AXIAL, CORONAL, FACE_DOWN, PictureFrame("A", "R", "S"), PictureFrame()]))
def test_named_is_the_inverse_of_pictured(prompt: StructuredPrompt, frame: PictureFrame) -> None:
    assert named(pictured(prompt, frame), frame) == prompt
    assert pictured(named(prompt, frame), frame) == prompt


def test_a_sagittal_picture_has_no_word_for_its_left() -> None:
    assert named(at("upper", "left"), SAGITTAL) == at("upper", "")
    assert unseen(at("upper", "left"), SAGITTAL) == ("left",)
    assert unseen(at("upper", "left"), AXIAL) == ()


@pytest.mark.parametrize(
    ("frame", "typed", "read"),
    [
        (AXIAL, "Left upper mass", "Right upper mass"),
        (AXIAL, "RIGHT-sided, anterior", "LEFT-sided, upper"),
        (AXIAL, "top right, superior", "top left,"),
        (AXIAL, "a bright leftmost lesion", "a bright rightmost lesion"),
        (SAGITTAL, "anterior and superior", "left and upper"),
        (SAGITTAL, "a central mass, middle", "a mass, middle"),
        (SAGITTAL, "masses on both sides", "masses on"),
        (AXIAL, "bilateral masses", "bilateral masses"),
        (CORONAL, "Inferior left lobe", "Lower right lobe"),
        (FACE_DOWN, "top left", "lower left"),
        (AXIAL, "iregular rigjt mass, Lt breast", "iregular left mass, Right breast"),
        (PictureFrame(), "Left anterior", "Left anterior"),
    ],
)
def test_free_text_is_brought_into_the_picture(frame: PictureFrame, typed: str, read: str) -> None:
    assert pictured_text(typed, frame) == read


def test_words_across_the_picture_are_named() -> None:
    assert unseen("Superior left, superior", AXIAL) == ("Superior", "superior")
    assert unseen("left anterior", SAGITTAL) == ("left",)
    assert unseen("left superior", PictureFrame()) == ()


@pytest.mark.parametrize("frame", [("R", "A", ""), ("R", "L", "S"), ("R", "A", "X"), ("left", "A", "S")])
def test_a_frame_has_three_axes_or_none(frame: tuple[str, str, str]) -> None:
    with pytest.raises(IncompatibleInputError, match="one of R/L, one of A/P and one of S/I"):
        PictureFrame(*frame)


def test_flips_rewrite_words() -> None:
    assert mirrored(at("upper", "left"), horizontally=True) == at("upper", "right")
    assert mirrored(at("upper", "central"), vertically=True) == at("lower", "central")
    assert mirrored("Top LEFT, not bright", horizontally=True, vertically=True) == "Bottom RIGHT, not bright"
    assert mirrored("upper left") == "upper left"
    assert turned("upper left", 1) == "left lower"


@pytest.mark.parametrize("word", [w for w, (kind, _) in LEXICON.items() if kind in ("vertical", "horizontal")])
def test_every_word_of_a_place_moves_with_the_picture(word: str) -> None:
    text = f"a round mass, {word}"
    said = parse(text).prompt
    assert said.locations
    assert parse(mirrored(text, True, True)).prompt == mirrored(said, True, True)
    assert parse(turned(text, 1)).prompt == turned(said, 1)
    if said.locations[0].horizontal:
        assert parse(pictured_text(text, AXIAL)).prompt == pictured(said, AXIAL)


@given(PROMPTS, st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_reworded_text_says_the_reworded_prompt(prompt: StructuredPrompt, seed: int, turns: int) -> None:
    text = paraphrase(prompt, np.random.default_rng(seed), misspelled=0.5)
    said = parse(text).prompt
    assert parse(mirrored(text, horizontally=True)).prompt == mirrored(said, horizontally=True)
    assert parse(turned(text, turns)).prompt == turned(said, turns)
    assert parse(pictured_text(text, FACE_DOWN)).prompt == pictured(said, FACE_DOWN)


@given(st.integers(0, 8), st.integers(0, 8), st.booleans(), st.booleans(), st.integers(-1, 4))
@settings(max_examples=50, deadline=None)
def test_words_move_with_the_mask(row: int, column: int, across: bool, down: bool, turns: int) -> None:
    """A mask in one cell of 9 x 9 (each third is three cells), moved, is described by the words that were moved."""
    mask = np.zeros((90, 90), bool)
    mask[row * 10 + 2 : row * 10 + 8, column * 10 + 2 : column * 10 + 8] = True
    moved = mask[:, ::-1] if across else mask
    moved = np.rot90(moved[::-1] if down else moved, turns)
    assert describe(moved) == turned(mirrored(describe(mask), across, down), turns)
