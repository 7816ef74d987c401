from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.api import Model, load_engine
from leanseg.errors import IncompatibleInputError, InferenceCancelled, LeanSegError
from leanseg.inference.hints import Box, Click, Hints, Scribble
from leanseg.prompts.directions import PictureFrame
from leanseg.text_session import TextSession
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dark_on_bright, dice, ellipse, write_tiny_bundle

UPPER_LEFT = ellipse((64, 64), (0.12, 0.12), (0.25, 0.25))
LOWER_RIGHT = ellipse((64, 64), (0.1, 0.1), (0.75, 0.75))
BOTH = UPPER_LEFT | LOWER_RIGHT
SLICE_BYTES = 2 * (64 * 64 + 1) + 64 * 64
"""Half-precision features and the mask of the organ."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_engine(str(write_text_bundle(tmp_path_factory.mktemp("models") / "told").folder))


def picture(mask: NDArray[np.bool_] = BOTH) -> Volume:
    """One slice, or as many as there are, without a frame."""
    volume = dark_on_bright(np.atleast_3d(mask.T).T if mask.ndim == 2 else mask)
    return Volume(volume.array, VolumeGeometry(volume.geometry.shape, np.diag([-1.0, -1, 2, 1]), is_calibrated=False))


def mri(mask: NDArray[np.bool_] = BOTH, slices: int = 1) -> Volume:
    """Dark on noise that looks like no ultrasound; i runs to the patient's right, j to anterior, k to superior."""
    noise = np.random.default_rng(0).random((1, slices, *mask.shape), dtype=np.float32)
    return Volume(np.where(mask, 0, 0.8 + 0.2 * noise), VolumeGeometry((slices, *mask.shape)))


def only(session: TextSession, text: str = "", **more: object) -> NDArray[np.bool_]:
    return session.propose([0], text, **more)[0].mask  # type: ignore[arg-type]


def test_the_words_decide_which_of_two_is_outlined(model: Model) -> None:
    session = TextSession(model, picture())
    assert dice(only(session, "the upper left mass"), UPPER_LEFT) > 0.9
    assert dice(only(session, "the RIGHT one"), LOWER_RIGHT) > 0.9
    for any_tumor in ("", "tumor", "两个肿瘤", "🙂"):
        assert dice(only(session, any_tumor), BOTH) > 0.9


def test_a_proposal_has_all_maps_on_the_grid_of_the_volume(model: Model) -> None:
    mask = ellipse((48, 80), (0.2, 0.2), (0.5, 0.3))
    proposal = TextSession(model, picture(mask)).propose([0], "left")[0]
    assert proposal.mask.shape == proposal.probability.shape == proposal.uncertainty.shape == (48, 80)
    assert dice(proposal.mask, mask) > 0.9 and not proposal.is_absent and proposal.reason == ""
    assert proposal.existence > 0.99 and proposal.seconds > 0
    p = proposal.probability
    assert p.dtype == proposal.uncertainty.dtype == np.float32 and p.min() >= 0 and p.max() <= 1


def test_in_a_patient_left_is_the_patients_left(model: Model) -> None:
    """Rows and columns run to anterior and right, so the picture shows the volume upside down and mirrored."""
    session = TextSession(model, mri(), "mri")
    assert session.frame == PictureFrame("R", "A", "I")
    left_posterior = only(session, "left posterior mass")
    assert dice(left_posterior, UPPER_LEFT) > 0.9, "small i is left, small j is posterior"
    assert dice(only(session, "right"), LOWER_RIGHT) > 0.9


def test_clicks_boxes_and_scribbles_are_in_voxels_of_the_volume(model: Model) -> None:
    session = TextSession(model, mri(), "mri")
    clicked = only(session, "right", hints=Hints((Click((0, 20, 50)),)))
    assert clicked[20, 50] and dice(clicked & LOWER_RIGHT, LOWER_RIGHT) > 0.9
    denied = only(session, hints=Hints((Click((0, 16, 16), positive=False),)))
    assert not denied[16, 16] and dice(denied & LOWER_RIGHT, LOWER_RIGHT) > 0.9
    boxed = only(session, hints=Hints(boxes=(Box(0, 5, 5, 27, 27),)))
    assert dice(boxed, UPPER_LEFT) > 0.9
    stroke = only(session, "right", hints=Hints(scribbles=(Scribble(((0, 10, 40), (0, 10, 60))),)))
    assert stroke[10, 40:60].all()


ELSEWHERE = Hints((Click((0, 1, 1), positive=False),))


def test_an_earlier_mask_is_corrected_by_hints_and_forgotten_without(model: Model) -> None:
    earlier = np.zeros((64, 64), bool)
    earlier[4:12, 44:60] = True
    session = TextSession(model, mri(), "mri")
    mask = only(session, "right", hints=ELSEWHERE, earlier={0: earlier})
    assert mask[4:12, 44:60].all() and not mask[4:12, 4:20].any()
    np.testing.assert_array_equal(only(session, "right", earlier={0: earlier}), only(session, "right"))


def test_what_is_absent_is_empty_and_says_why(model: Model) -> None:
    session = TextSession(model, picture(LOWER_RIGHT))
    proposal = session.propose([0], "upper left")[0]
    assert proposal.is_absent and not proposal.mask.any() and proposal.existence < 0.5
    assert proposal.reason == "The prompt says upper left; what looks like a tumor lies lower right."
    assert session.propose([0], "lower right")[0].reason == ""
    nothing = session.propose([0], "no tumor")[0]
    assert nothing.is_absent and nothing.reason.startswith("The prompt says that there is no tumor.")


def test_reasons_are_in_the_words_of_the_patient(model: Model) -> None:
    proposal = TextSession(model, mri(LOWER_RIGHT), "mri").propose([0], "left posterior")[0]
    assert proposal.reason == "The prompt says lower left; what looks like a tumor lies upper right."


def test_a_click_wins_over_absence(model: Model) -> None:
    session = TextSession(model, picture(LOWER_RIGHT))
    click, box = Hints((Click((0, 48, 48)),)), Hints(boxes=(Box(0, 30, 30, 60, 60),))
    assert dice(only(session, "no tumor", hints=click), LOWER_RIGHT) > 0.9
    assert dice(only(session, "no tumor", hints=box), LOWER_RIGHT) > 0.9
    assert only(session, "upper left", hints=click)[48, 48]
    negative = Hints((Click((0, 5, 5), positive=False),))
    assert not only(session, "no tumor", hints=negative).any()
    nothing = session.propose([0], "upper left", hints=box)[0]
    assert nothing.is_absent and nothing.reason.startswith("No pixel is a tumor with 50% or more.")


def test_a_click_in_one_slice_says_nothing_about_another(model: Model) -> None:
    session = TextSession(model, picture(np.stack([LOWER_RIGHT, LOWER_RIGHT])))
    first, second = session.propose([0, 1], "no tumor", Hints((Click((0, 48, 48)),))).values()
    assert first.mask.any() and second.is_absent


def test_an_empty_slice_is_absent_without_a_network(model: Model) -> None:
    volume = picture(np.stack([BOTH, BOTH]))
    volume.array[0, 1] = 9
    proposals = TextSession(model, volume).propose([1, 0, 1], "left")
    assert list(proposals) == [0, 1] and proposals[0].mask.any()
    assert proposals[1].is_absent and proposals[1].reason == "The slice is empty: every value is 9."


class Counted:
    """A graph that counts its calls."""

    def __init__(self, graph: object) -> None:
        self.graph, self.calls = graph, 0

    def __call__(self, inputs: object) -> object:
        self.calls += 1
        return self.graph(inputs)  # type: ignore[operator]


def test_features_are_computed_once_and_forgotten_least_recently_used_first(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(model.engine._image)  # type: ignore[union-attr]
    monkeypatch.setattr(model.engine, "_image", counted)
    session = TextSession(model, picture(np.stack([BOTH] * 4)), memory_bytes=2 * SLICE_BYTES)
    first = session.propose([0], "left")[0]
    session.propose([0], "right")
    session.propose([1], "right")
    assert counted.calls == 2 and session.remembered == (0, 1)
    session.propose([0], "upper")
    session.propose([2], "upper")
    assert session.remembered == (0, 2) and counted.calls == 3
    again = session.propose([0], "left")[0]
    np.testing.assert_array_equal(again.probability, first.probability)
    session.propose([1], "left")
    assert counted.calls == 4 and session.remembered == (0, 1)
    frugal = TextSession(model, picture(), memory_bytes=SLICE_BYTES - 1)
    assert only(frugal).any() and frugal.remembered == ()


def test_what_is_asked_does_not_depend_on_what_was_asked_before(model: Model) -> None:
    session = TextSession(model, picture())
    fresh = only(session, "left")
    for text in ("right", "no tumor", "left"):
        last = only(session, text)
    np.testing.assert_array_equal(last, fresh)


def test_progress_is_told_and_cancels(model: Model) -> None:
    session = TextSession(model, picture(np.stack([BOTH] * 3)))
    steps: list[tuple[int, int, str]] = []
    session.propose([2, 0], "left", progress=lambda done, total, what: steps.append((done, total, what)))
    assert steps == [(0, 2, "slice 1"), (1, 2, "slice 3"), (2, 2, "done")]
    with pytest.raises(InferenceCancelled):
        session.propose([0, 1, 2], "left", progress=lambda done, total, what: done < 1)


def test_the_next_question_lies_where_the_answer_is_open_and_moves_on(model: Model) -> None:
    """Where only the earlier mask speaks for a tumor, its probability is 0.75; elsewhere all is certain."""
    earlier = np.zeros((64, 64), bool)
    earlier[40:60, 5:25] = True
    session = TextSession(model, picture(UPPER_LEFT))
    proposals = session.propose([0], "tumor", ELSEWHERE, {0: earlier})
    first = session.next_question(proposals, [])
    assert first is not None and first.why == "Slice 1: tumor with 75% here."
    second = session.next_question(proposals, [first.kji])
    assert second is not None and np.hypot(*np.subtract(first.kji, second.kji)[1:]) >= 0.06 * 64
    for question in (first, second):
        k, j, i = (int(n) for n in question.kji)
        assert k == 0 and earlier[j, i]


def test_it_says_what_it_understands_and_what_contradicts_the_image(model: Model) -> None:
    session = TextSession(model, mri(slices=2))
    understood = session.understand("one oval mass, left")
    assert (understood.prompt.number, understood.prompt.shape, understood.warnings) == ("one", "oval", ())
    warnings = session.understand("ultrasound: mass on the left").warnings
    assert warnings == ("The prompt says ultrasound; the image does not look like ultrasound. Compare them.",)


def test_warnings_about_the_image(model: Model) -> None:
    assert TextSession(model, mri(slices=2), "mri").warnings == ()
    (named, *_) = TextSession(model, mri(slices=2), "ultrasound").warnings
    assert named == "The image is said to be ultrasound; the image does not look like ultrasound. Compare them."
    (unknown,) = TextSession(model, mri(slices=1)).warnings
    assert unknown.startswith("The image does not say how it lies in the patient")


def test_a_prompt_of_ten_thousand_characters_is_read_from_its_beginning(model: Model) -> None:
    session = TextSession(model, picture())
    text = "left " + "word " * 2000
    assert dice(only(session, text), UPPER_LEFT) > 0.9
    assert any("characters; only the first" in warning for warning in session.understand(text).warnings)


def test_of_a_prompt_that_is_too_long_the_network_hears_what_was_understood(model: Model) -> None:
    """It reads twelve pieces, and the place comes after them."""
    session = TextSession(model, picture())
    text = "Please segment for me the one and only mass that is seen in the picture here, upper left"
    assert dice(only(session, text), UPPER_LEFT) > 0.9
    (warning,) = [one for one in session.understand(text).warnings if "longer" in one]
    assert warning == "The prompt is longer than the model reads; it hears: One mass, upper left."
    assert not [one for one in session.understand("upper left").warnings if "longer" in one]


def test_directions_that_the_slices_cannot_show_are_named(model: Model) -> None:
    """Of sagittal slices, which run along j to the back and i up: left and right are not among their edges."""
    noise = 0.8 + 0.2 * np.random.default_rng(0).random((1, 2, 64, 64), dtype=np.float32)
    matrix = np.array([[0, 0, 3.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # i to A, j to S, k to R
    session = TextSession(model, Volume(noise, VolumeGeometry((2, 64, 64), matrix)), "mri")
    assert "These slices cannot show left; that is not used." in session.understand("mass, left").warnings
    assert not any("cannot show" in one for one in session.understand("mass, upper").warnings)


def test_in_sagittal_slices_anterior_is_not_upper(model: Model) -> None:
    matrix = np.array([[0, 0, 3.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # i to A, j to S, k to R
    below_behind, above_in_front = UPPER_LEFT, LOWER_RIGHT
    session = TextSession(model, Volume(mri().array, VolumeGeometry((1, 64, 64), matrix)), "mri")
    for text, meant in (
        ("mass, anterior", above_in_front),
        ("posterior mass", below_behind),
        ("inferior posterior mass", below_behind),
        ("mass, upper", above_in_front),
        ("a mass, not inferior, anterior", above_in_front),
        ("mass not on the left but anterior", above_in_front),
        ("mass, not left", BOTH),
        ("bilateral masses", BOTH),
        ("central mass", BOTH),
    ):
        assert dice(only(session, text), meant) > 0.9, text
    nothing = session.propose([0], "mass, posterior superior")[0]
    assert not nothing.mask.any() and "The prompt says upper posterior; what looks like a tumor lies" in nothing.reason
    assert "right" not in nothing.reason and "left" not in nothing.reason
    assert session.in_few_words("a mass, anterior") == "one · anterior"
    assert "These slices cannot show central; that is not used." in session.understand("central mass").warnings


@pytest.mark.parametrize(
    ("ks", "hints", "earlier", "message"),
    [
        ([1], Hints(), {}, "There is no slice 1; the image has 0 to 0"),
        ([-1], Hints(), {}, "There is no slice -1"),
        ([0], Hints((Click((0, 64, 3)),)), {}, "The click at .* lies outside the image"),
        ([0], Hints(boxes=(Box(0, 5, 5, 5, 9),)), {}, "The box has no area"),
        ([0], Hints((Click((0, 5, 5)), Click((0, 5, 5), False))), {}, "marked as tumor and as no tumor"),
        ([0], Hints(), {0: np.zeros((3, 3), bool)}, r"earlier mask of slice 0 is \(3, 3\); \(64, 64\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    model: Model, ks: list[int], hints: Hints, earlier: dict[int, NDArray[np.bool_]], message: str
) -> None:
    with pytest.raises(LeanSegError, match=message):
        TextSession(model, picture()).propose(ks, "left", hints, earlier)


def test_other_models_and_modalities_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match="This model takes no text"):
        TextSession(load_engine(str(write_tiny_bundle(tmp_path / "tiny").folder)), picture())
    with pytest.raises(LeanSegError, match=r"no modality 'ct'\. Choose one of: ultrasound, mri"):
        TextSession(model, picture(), "ct")


def test_an_image_with_nan_is_refused_at_once(model: Model) -> None:
    volume = mri(slices=2)
    volume.array[0, 1, 3, 3] = np.nan
    with pytest.raises(IncompatibleInputError, match="1 values that are NaN"):
        TextSession(model, volume)
