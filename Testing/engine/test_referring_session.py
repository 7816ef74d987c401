import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import leanseg
from leanseg.api import Model, list_models, load_engine, segment
from leanseg.errors import BundleError, IncompatibleInputError, LeanSegError
from leanseg.inference.chosen_object import Decision
from leanseg.inference.referring import Referred, ReferringEngine
from leanseg.referring_session import ReferringSession
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.referring_tiny import LENGTH, tokenizer_json, write_referring_bundle
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import dice, ellipse, write_tiny_bundle

FIRST = ellipse((64, 64), (0.12, 0.12), (0.3, 0.25))  # in columns and rows of the array: near 0
LAST = ellipse((64, 64), (0.1, 0.1), (0.7, 0.75))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(models: Path) -> Model:
    return load_engine(str(write_referring_bundle(models / "refers").folder))


def picture(mask: NDArray[np.bool_] = FIRST | LAST, size: tuple[int, int] = (64, 64)) -> Volume:
    """Bright objects without a patient."""
    array = np.where(mask, 200, 20).astype(np.uint8)[np.newaxis, np.newaxis]
    return Volume(array, VolumeGeometry((1, *size), is_calibrated=False))


def patient(columns: tuple[float, float, float], rows: tuple[float, float, float], slices: int = 3) -> Volume:
    """Slices whose columns and rows run in these directions (RAS): with texture, as of an MRI."""
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = columns, rows, np.cross(columns, rows)
    noise = np.random.default_rng(0).random((slices, 64, 64), dtype=np.float32)
    array = np.where(FIRST | LAST, 1.0, 0.2 * noise).astype(np.float32)
    return Volume(array[np.newaxis], VolumeGeometry((slices, 64, 64), matrix))


R, L, A, P, S, I = (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)  # noqa: E741


# ── left is left ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("columns", "rows", "first", "last"),
    [
        (L, P, "rightmost", "leftmost"),  # axial as nearly every file: column 0 is the patient's right
        (R, P, "leftmost", "rightmost"),
        (R, A, "leftmost", "rightmost"),
        (L, I, "rightmost", "leftmost"),  # coronal
        (R, S, "leftmost", "rightmost"),
        (P, L, "rightmost", "leftmost"),  # axial, rows and columns exchanged
        (A, R, "leftmost", "rightmost"),
        (P, I, "most anterior", "most posterior"),  # sagittal
        (A, S, "most posterior", "most anterior"),
        (L, P, "most anterior", "most posterior"),
        (R, A, "most posterior", "most anterior"),
        (L, I, "most superior", "most inferior"),
        (R, S, "lowermost", "uppermost"),
        (L, P, "top most", "bottom most"),
    ],
)
def test_words_are_those_of_the_patient_however_the_volume_lies(
    model: Model, columns: tuple[float, float, float], rows: tuple[float, float, float], first: str, last: str
) -> None:
    session = ReferringSession(model, patient(columns, rows))
    for word, mask in ((first, FIRST), (last, LAST)):
        found = session.refer(f"the {word} lesion", 1)
        assert dice(found.mask, mask) > 0.9, f"{word}: the network heard {found.heard!r}"
        heat = found.heat_map(0)
        assert heat[mask].mean() > 0.5 > 0.1 > heat[(FIRST | LAST) & ~mask].mean()
        number = found.words.index(next(w for w in found.words if w.endswith("most"))) + 1
        heat = found.heat_map(number)
        assert heat[mask].min() > 0.9 and heat[(FIRST | LAST) & ~mask].max() < 0.1


def test_in_a_picture_left_is_left_of_the_picture_and_a_line_says_so_unless_it_is_ultrasound(model: Model) -> None:
    found = ReferringSession(model, picture()).refer("The leftmost lesion.")
    assert dice(found.mask, FIRST) > 0.9 and found.heard == "The leftmost lesion."
    mri = patient(L, P, slices=1)
    plain = Volume(mri.array, VolumeGeometry((1, 64, 64)))  # no rotation: a picture
    session = ReferringSession(model, plain)
    assert dice(session.refer("the leftmost lesion").mask, FIRST) > 0.9
    assert any("left and right are those of the picture" in line for line in session.refer("leftmost").warnings)
    said = ReferringSession(model, plain, "ultrasound")
    assert not any("those of the picture" in line for line in said.warnings)
    assert ReferringSession(model, plain, "mri").frame.left, "who says that it is MRI trusts its axes"


def test_a_direction_that_the_slices_cannot_show_is_refused(model: Model) -> None:
    session = ReferringSession(model, patient(P, I))
    with pytest.raises(LeanSegError, match='cannot show "left"'):
        session.refer("the leftmost lesion", 0)


# ── what comes back ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_result_lies_on_the_grid_of_the_picture(model: Model) -> None:
    wide = np.zeros((48, 100), bool)
    wide[10:20, 10:20] = True
    found = ReferringSession(model, picture(wide, (48, 100))).refer("the lesion on the left")
    assert (
        found.mask.shape == found.probability.shape == found.uncertainty.shape == found.heat_map(0).shape == (48, 100)
    )
    assert dice(found.mask, wide) > 0.85 and found.existence > 0.99 and not found.is_absent and found.reason == ""
    assert found.words == ("the", "lesion", "on", "the", "left") and found.seconds > 0
    heat = found.heat_map(5)
    assert heat[:, :40].min() > 0.9 and heat[:, 60:].max() < 0.1, "padding above and below does not count"
    assert not found.heat_map(1).any(), "a word that points nowhere"
    for number in (-1, 6):
        with pytest.raises(LeanSegError, match=f"no word {number}. Choose 1 to 5, or 0"):
            found.heat_map(number)


class Rows:
    """A graph whose correlations are the number of the row."""

    runtime = "by hand"

    def __call__(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        correlation = np.arange(8.0)[:, np.newaxis] * np.ones((1, 1 + LENGTH, 8, 8))
        return {"probability": np.ones((1, 1, 64, 64)), "existence": np.ones(1), "correlation": correlation}


def test_heat_maps_use_the_whole_scale_inside_the_picture(model: Model) -> None:
    engine = ReferringEngine({"referring": Rows()}, model.engine.config, tokenizer_json())  # type: ignore[union-attr]
    half = np.tile(np.arange(80) < 40, (40, 1))
    heat = ReferringSession(replace(model, engine=engine), picture(half, (40, 80))).refer("leftmost").heat_map()
    assert heat[0].max() < 0.1 and heat[-1].min() > 0.9, "rows of padding lie above and below"


def test_what_does_not_exist_is_not_outlined_and_a_line_says_so(model: Model) -> None:
    found = ReferringSession(model, picture()).refer("the fourth lesion from the left")
    assert found.is_absent and not found.mask.any()
    assert found.reason == "There is no such object (probability to exist 0.00; 0.50 is needed)."


def test_thresholds_are_those_of_the_card(models: Path) -> None:
    gray = picture().with_array(np.where(FIRST, 140, np.where(LAST, 255, 0)).astype(np.uint8)[np.newaxis, np.newaxis])
    for threshold, existence, found_any in ((0.5, 0.05, False), (0.05, 0.05, True), (0.05, 0.5, False)):
        bundle = write_referring_bundle(models / "changed", threshold=threshold, existence_threshold=existence)
        found = ReferringSession(load_engine(str(bundle.folder)), gray).refer("leftmost")
        assert found.mask.any() == found_any, f"{found.existence:.2f} {found.reason}"


def test_other_nouns_are_told_in_words_that_the_network_knows(model: Model) -> None:
    found = ReferringSession(model, picture()).refer("second NODULE from the letf")
    assert found.heard == "The second lesion from the left." and '"letf" is read as "left".' in found.warnings


# ── bad input ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "Nothing is said"),
        ("  ", "Nothing is said"),
        ("x" * 301, "has 301 characters; at most 300"),
        ("die größte Läsion links", "looks German"),
        ("brzl frwl", 'Not understood: "brzl", "frwl"'),
        ("not the leftmost one", "Negation"),
        ("the lesion left of the nipple", "does not know that object"),
        ("the largest, darkest lesion", "One of these counts"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(model: Model, text: str, line: str) -> None:
    with pytest.raises(LeanSegError, match=line) as caught:
        ReferringSession(model, picture()).refer(text)
    assert "\n" not in str(caught.value)


def test_empty_and_colored_pictures_and_slices_that_do_not_exist_are_refused(model: Model) -> None:
    with pytest.raises(IncompatibleInputError, match="image is empty"):
        ReferringSession(model, picture(FIRST & LAST))
    colors = np.random.default_rng(0).integers(0, 255, (3, 1, 64, 64)).astype(np.uint8)
    with pytest.raises(IncompatibleInputError, match="color"):
        ReferringSession(model, Volume(colors, VolumeGeometry((1, 64, 64), is_calibrated=False)))
    volume = patient(L, P)
    volume.array[0, 2] = 0
    session = ReferringSession(model, volume)
    assert session.refer("leftmost", 2).reason == "The slice is empty: every value is 0."
    assert not session.refer("leftmost", 2).heat_map(0).any()
    for k, line in ((None, "none is chosen"), (3, "there is no slice 3"), (-1, "there is no slice -1")):
        with pytest.raises(LeanSegError, match=line):
            session.refer("leftmost", k)
    with pytest.raises(LeanSegError, match="no modality 'ct'"):
        ReferringSession(model, picture(), "ct")


def test_another_kind_of_model_and_a_bundle_that_does_not_fit_are_named(models: Path) -> None:
    described = load_engine(str(write_text_bundle(models / "described").folder))
    plain = load_engine(str(write_tiny_bundle(models / "plain").folder))
    for other in (described, plain):
        with pytest.raises(LeanSegError, match="reads no sentence about one of several objects"):
            ReferringSession(other, picture())
    bundle = write_referring_bundle(models / "other_grid", grid_ji=(4, 4))
    with pytest.raises(BundleError, match="correlation"):
        leanseg.refer(picture(), "leftmost", str(bundle.folder))
    with pytest.raises(LeanSegError, match="CPU only"):
        load_engine(str(bundle.folder), device="cuda")
    with pytest.raises(BundleError, match="engine_config"):
        load_engine(str(write_referring_bundle(models / "bad", card={"engine_config": {"threshold": 0.5}}).folder))


# ── facade ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_facade_refers_in_one_slice_and_segments_all(
    model: Model, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = patient(L, P)
    monkeypatch.setenv("LEANSEG_MODELS", str(models))
    found = leanseg.refer(volume, "the leftmost lesion", "refers", k=1, modality="mri")
    assert dice(found.mask, LAST) > 0.9 and found.sentence == "the leftmost lesion"
    result = segment(volume, model, prompt="the leftmost lesion")
    assert all(dice(mask, LAST) > 0.9 for mask in result.labelmap)
    assert result.notes["understood"] == "The rightmost lesion." and result.notes["gmacs"] == 0.25 * 3
    assert any("each of the 3 slices for itself" in line for line in result.notes["warnings"])
    nothing = segment(picture(), model, prompt="fourth from the left")
    assert not nothing.labelmap.any() and nothing.notes["warnings"][-1].startswith("There is no such object")
    with pytest.raises(LeanSegError, match="Nothing is said"):
        segment(picture(), model)
    assert "refers" in [card.id for card in list_models()]


def test_a_volume_says_what_is_to_be_known_of_any_slice_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    remarks = iter(["", "Of 2 objects ...", "Of 2 objects ..."])

    def left_open(found: Referred, *_args: object) -> Decision:
        return Decision(found.probability, "", next(remarks))

    monkeypatch.setattr("leanseg.referring_session.decide", left_open)
    warnings = segment(patient(L, P), model, prompt="the letfmost lesion").notes["warnings"]
    assert warnings.count("Of 2 objects ...") == 1
    assert sum("is read as" in line for line in warnings) == 1


def test_the_result_is_a_proposal_like_any_other(model: Model) -> None:
    found = ReferringSession(model, picture()).refer("leftmost")
    names = {field.name for field in dataclasses.fields(found)}
    assert {"mask", "probability", "uncertainty", "existence", "is_absent", "reason", "seconds"} <= names
    assert found.uncertainty.min() >= 0 and found.uncertainty.max() <= 1


def test_of_images_that_it_may_not_have_learned_it_is_said_what_it_learned(model: Model) -> None:
    said = ReferringSession(model, patient(L, P), "mri").refer("the leftmost lesion", 1).warnings
    (line,) = [line for line in said if line.startswith("It learned from ")]
    assert "MRI of the brain" in line and "\n" not in line
    echoes = ReferringSession(model, picture(), "ultrasound").refer("the leftmost lesion")
    assert not any("It learned from" in line for line in echoes.warnings)


def test_leftmost_in_the_image_is_the_left_of_the_picture(model: Model) -> None:
    """Column 0 is the patient's right here, and left in the picture."""
    found = ReferringSession(model, patient(L, P)).refer("leftmost lesion in the image", 1)
    assert dice(found.mask, FIRST) > 0.9
    assert "Left of the picture is the patient's right here, and is read so." in found.warnings
