import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import leanseg
from leanseg.api import Model, list_models, load_engine, segment
from leanseg.errors import BundleError, IncompatibleInputError, LeanSegError
from leanseg.question_session import CANNOT_TELL, QuestionSession
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.answer_tiny import write_answer_bundle
from Testing.engine.tiny import write_tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_engine(str(write_answer_bundle(tmp_path_factory.mktemp("models") / "tells").folder))


def view(left: float = 1.0, right: float = 0.0, size: tuple[int, int] = (64, 64)) -> Volume:
    """Gray levels of a slice view, without a patient."""
    array = np.full((1, 1, *size), right, np.float32)
    array[..., : size[1] // 2] = left
    return Volume(array, VolumeGeometry((1, *size), is_calibrated=False))


def test_same_picture_other_question_other_answer(model: Model) -> None:
    session = QuestionSession(model, view())
    where, is_bright = session.ask("Where is it brighter?"), session.ask("Is it bright?")
    assert (where.text, where.question_type) == ("left", "position")
    assert (is_bright.question_type, is_bright.choices[0].text) == ("yes/no", "no") or not is_bright.is_told
    assert QuestionSession(model, view(0, 1)).ask("where is it brighter").text == "right"


def test_the_probabilities_are_those_of_the_network(model: Model) -> None:
    array = view().array.copy()
    array[..., :32, :] = 0.6 * array[..., :32, :]  # quarters 0.6, 0, 1, 0
    answer = QuestionSession(model, view().with_array(array)).ask("Is it bright?")
    odds = math.exp(20 * 0.4 - 10)
    assert [choice.text for choice in answer.choices] == ["no", "yes"], "what is not admitted is no choice"
    assert answer.choices[1].probability == pytest.approx(odds / (1 + odds), abs=1e-3)
    assert answer.confidence == answer.choices[0].probability and answer.is_told
    assert answer.type_probability == 1 and answer.seconds > 0 and answer.stages == 5


def test_below_the_threshold_of_the_card_it_cannot_tell(model: Model) -> None:
    answer = QuestionSession(model, view()).ask("Is it bright?")  # the mean is 0.5: as probable as not
    assert answer.confidence == pytest.approx(0.5, abs=0.01)
    assert answer.text == CANNOT_TELL and not answer.is_told and len(answer.choices) == 2
    assert any("50%" in line and "70%" in line for line in answer.warnings)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (200, 30)])
def test_heat_maps_lie_on_the_picture(model: Model, size: tuple[int, int]) -> None:
    answer = QuestionSession(model, view(size=size)).ask("Where is it brighter?")
    np.testing.assert_allclose(answer.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    for stage in range(6):
        heat = answer.heat_map(stage)
        assert heat.shape == size and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
        least = 0.4 if size[1] > 32 else 0.15  # a narrow picture lies between the centers of the places
        assert heat[:, : size[1] // 4].mean() > heat[:, -size[1] // 4 :].mean() + least
    with pytest.raises(LeanSegError, match=r"no stage 6\. Choose 1 to 5"):
        answer.heat_map(6)


def test_a_slice_is_turned_as_a_person_sees_it(model: Model) -> None:
    noise = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    array = np.where(np.arange(64) < 32, 0.6, 0.0) + 0.4 * noise * (np.arange(64) < 32)
    # i runs to the patient's right, so that a person sees column 0, the patient's left, on the right.
    volume = Volume(array.astype(np.float32), VolumeGeometry((3, 64, 64), np.eye(4)))
    answer = QuestionSession(model, volume, k=1).ask("Where is it brighter?")
    assert answer.text == "right"
    heat = answer.heat_map(0)
    assert heat[:, :16].mean() > heat[:, -16:].mean() + 0.4, "on the volume's own columns"


def test_gray_levels_of_any_kind_and_tinted_gray_will_do(model: Model) -> None:
    for array in (
        (view().array * 255).astype(np.uint8),
        (view().array * 3000 - 1000).astype(np.int16),
        np.repeat(view().array, 3, axis=0),
    ):
        picture = Volume(array, view().geometry)
        assert QuestionSession(model, picture).ask("Where is it brighter?").text == "left"


def colored() -> NDArray[np.float32]:
    array = np.random.default_rng(0).random((3, 1, 64, 64), dtype=np.float32)
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((1, 1, 64, 64), np.float32), "empty"),
        (np.full((1, 1, 64, 64), np.nan, np.float32), "NaN"),
        (colored(), "color"),
        (np.random.default_rng(0).random((1, 1, 8, 64)), "at least 16"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused(model: Model, array: NDArray[np.float32], message: str) -> None:
    volume = Volume(array, VolumeGeometry(array.shape[1:], is_calibrated=False))  # type: ignore[arg-type]
    with pytest.raises(IncompatibleInputError, match=message):
        QuestionSession(model, volume)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "Nothing is asked"),
        (" \n ", "Nothing is asked"),
        ("The bright side.", "is no question"),
        ("Gibt es hier eine Raumforderung?", "Ask in English"),
        ("这里有肿块吗?", "Ask in English"),
        ("???", "Ask in English"),
        ("🙂", "Ask in English"),
        ("Is it bright? " * 360, r"5039 characters; at most 500"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line(model: Model, question: str, message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        QuestionSession(model, view()).ask(question)
    assert "\n" not in str(caught.value)


def test_misspelled_and_unknown_words_are_named(model: Model) -> None:
    session = QuestionSession(model, view())
    misspelled = session.ask("Where is it brigter?")
    assert misspelled.text == "left" and misspelled.warnings == ("'brigter' was read as 'brighter'.",)
    unknown = session.ask("Where is the picture qqq brighter?")
    assert unknown.warnings == ("The model does not know the word 'qqq'.",)
    assert not unknown.is_told and unknown.text == CANNOT_TELL, "the answer would be one to another question"


def test_the_end_of_a_long_question_is_not_read_and_said_so(model: Model) -> None:
    answer = QuestionSession(model, view()).ask("is it bright in the side of the picture there of where?")
    assert answer.question_type == "yes/no", "`where` is the twelfth word; eight are read"
    assert any("8 words" in line for line in answer.warnings)


def test_a_slice_of_a_volume_must_be_chosen(model: Model) -> None:
    volume = Volume(np.random.default_rng(0).random((1, 3, 64, 64)), VolumeGeometry((3, 64, 64)))
    for k in (None, -1, 3):
        with pytest.raises(LeanSegError, match=r"3 slices.*from 0 to 2"):
            QuestionSession(model, volume, k)
    with pytest.raises(LeanSegError, match="one slice"):
        QuestionSession(model, view(), k=1)
    with pytest.raises(LeanSegError, match="no modality 'xray'"):
        QuestionSession(model, view(), modality="xray")


def test_other_models_do_not_answer_and_this_one_does_not_outline(model: Model, tmp_path: Path) -> None:
    outlines = load_engine(str(write_tiny_bundle(tmp_path / "tiny").folder))
    with pytest.raises(LeanSegError, match="answers no questions"):
        QuestionSession(outlines, view())
    with pytest.raises(LeanSegError, match=r"answers questions and outlines nothing\. Use leanseg\.answer"):
        segment(view(), model)


def test_the_facade_answers_in_one_call(model: Model, tmp_path: Path) -> None:
    assert leanseg.answer(view(), "Where is it brighter?", model).text == "left"
    assert leanseg.answer(view(), "Where is it brighter?", str(model.bundle.folder)).text == "left"


def test_a_model_without_labels_is_listed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEANSEG_MODELS", str(model.bundle.folder.parent))
    (card,) = [card for card in list_models() if card.id == "tells"]
    assert card.labels == () and card.task == "question answering" and card.precisions == ("fp32",)


def test_damage_is_named(tmp_path: Path) -> None:
    bundle = write_answer_bundle(tmp_path / "tells")
    (bundle.folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json is damaged"):
        load_engine(str(bundle.folder))
    wrong = write_answer_bundle(tmp_path / "wrong", answers=("yes", "no"))
    with pytest.raises(BundleError, match=r"gives answers of \(1, 4\); \(1, 2\) is needed"):
        QuestionSession(load_engine(str(wrong.folder)), view()).ask("Is it bright?")
    with pytest.raises(LeanSegError, match="answers questions, which runs on the CPU only"):
        load_engine(str(wrong.folder), device="cuda")


def test_only_a_model_that_answers_may_do_without_labels(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    card = replace(bundle.card, labels=())
    (bundle.folder / "card.json").write_text(card.to_json(), encoding="utf-8")
    with pytest.raises(BundleError, match="no label"):
        load_engine(str(bundle.folder))


def test_a_probability_just_below_the_threshold_reads_as_less(tmp_path: Path) -> None:
    model = load_engine(str(write_answer_bundle(tmp_path / "strict", confidence_threshold=0.5021).folder))
    answer = QuestionSession(model, view()).ask("Is it bright?")
    assert not answer.is_told and f"{answer.confidence:.0%}" == "50%"
    assert any("probability of 50.0%; below 50.2% too many" in line for line in answer.warnings)
