"""A run of a tiny network becomes a bundle that answers without torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import leanseg
import leanseg.training.export_questions as exporting
from leanseg.api import load_engine
from leanseg.inference.picture_slices import PictureSlices
from leanseg.networks.mf2_mvqa import MF2MVQA, AnswerOutput, MF2MVQAConfig
from leanseg.training.data.question_parts import AskedPicture, QuestionSet, load_question_set, question_set
from leanseg.training.data.questions import Question
from leanseg.training.export import export
from leanseg.training.export_questions import RIGHT_WHEN_TOLD, best_temperature, best_threshold
from leanseg.training.graphs import without_traces
from leanseg.training.question_answering import checked
from leanseg.training.question_vocabulary import Vocabulary
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.weights.bundle import Bundle
from Testing.engine.training.asked_pictures import write_vqa_rad
from Testing.engine.training.test_question_answering import RECIPE

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle, Path]:
    """Run, bundle, data."""
    folder = tmp_path_factory.mktemp("questions")
    data, run = write_vqa_rad(folder / "data"), folder / "run"
    recipe = replace(RECIPE, optimizer=replace(RECIPE.optimizer, epochs=3))
    train(recipe, data, run, False, lambda done, total, what: None)
    return run, export(run, folder / "models" / "tiny_answers", data), data


def test_the_bundle_answers_as_the_network_does(exported: tuple[Path, Bundle, Path]) -> None:
    run, bundle, data = exported
    network, vocabulary = checked(load_run(run)[1]), Vocabulary.load(run)
    model = load_engine(str(bundle.folder), precision="fp32")
    image = leanseg.read_image(data / "vqa_rad" / "images" / "image0.png")
    session = leanseg.QuestionSession(model, image)
    picture = torch.from_numpy(PictureSlices(image, model.preprocessing).picture(0).image)[None]  # type: ignore[arg-type]
    for text in ("Where is it bright?", "Is the right half bright?"):
        answer = session.ask(text)
        ids = torch.tensor([model.engine.read(text).pieces])  # type: ignore[union-attr]
        with torch.no_grad():
            output = network(picture, ids, torch.zeros_like(ids, dtype=torch.bool))
            expected = network.probabilities(output, bundle.card.temperature)[0]
        found = {choice.text: choice.probability for choice in answer.choices}
        for number, probability in enumerate(expected.tolist()):
            assert found.get(vocabulary.answers[number], 0.0) == pytest.approx(probability, abs=5e-3)
        np.testing.assert_allclose(answer.attention.reshape(5, -1), output.attention[0], atol=5e-3)


def test_int8_answers_alike(exported: tuple[Path, Bundle, Path]) -> None:
    _, bundle, data = exported
    assert bundle.card.precisions == ("fp32", "int8"), bundle.card.metrics
    image = data / "vqa_rad" / "images" / "image1.png"
    models = (load_engine(str(bundle.folder), precision="fp32"), load_engine(str(bundle.folder), precision="int8"))
    fp32, int8 = (leanseg.answer(image, "Is the left half bright?", model) for model in models)
    assert fp32.choices[0].text == int8.choices[0].text
    assert abs(fp32.confidence - int8.confidence) < 0.1


def test_the_card_says_what_it_is(exported: tuple[Path, Bundle, Path]) -> None:
    card = exported[1].card
    assert (card.task, card.engine, card.labels) == ("question answering", "question_answering", ())
    assert card.engine_config["answers"] and 0 <= card.engine_config["confidence_threshold"] <= 1
    assert set(card.metrics["validation"]) >= {"fp32", "int8", "by_part", "n", "command"}
    assert "CC0" in card.data_licenses[0] and card.gmacs > 0
    assert len(load_question_set(["vqa_rad:val"], exported[2], RECIPE).flat) == card.metrics["validation"]["n"]


def test_the_threshold_is_the_smallest_at_which_enough_are_right() -> None:
    confidence = torch.tensor([0.31, 0.42, 0.52, 0.62, 0.72, 0.82])
    is_right = torch.tensor([False, False, True, False, True, True])
    threshold, figures = best_threshold(confidence, is_right, ["a"] * 6)
    assert threshold == 0.45 and RIGHT_WHEN_TOLD == 0.7
    assert figures == {"a": {"told": round(4 / 6, 4), "right_when_told": 0.75}}
    never, figures = best_threshold(confidence, torch.tensor([False, False, True, True, False, False]), ["a"] * 6)
    assert never == 0.45 and figures["a"]["right_when_told"] == 0.5


def test_easy_questions_do_not_vouch_for_hard_ones() -> None:
    confidence = torch.tensor([0.9] * 8 + [0.31, 0.52, 0.72])
    is_right = torch.tensor([True] * 8 + [False, False, True])
    threshold, figures = best_threshold(confidence, is_right, ["easy"] * 8 + ["hard"] * 3)
    assert threshold == 0.55 and figures["easy"] == {"told": 1.0, "right_when_told": 1.0}
    assert figures["hard"] == {"told": round(1 / 3, 4), "right_when_told": 1.0}


NUMBER = 40


def asked_of(*answers: str) -> QuestionSet:
    questions = tuple(Question(("Is it?",), answer, "yes/no", True) for answer in answers)
    return question_set([AskedPicture("p", "part", torch.zeros(1, 32, 32).half(), questions)])


def overconfident() -> tuple[MF2MVQA, Vocabulary, AnswerOutput]:
    """Ten questions that admit two of many answers; it is surer of the first than it should be."""
    others = tuple(f"other {n}" for n in range(NUMBER))
    vocabulary = Vocabulary(
        ("[PAD]", "[UNK]", "[CLS]", "[SEP]"), ("yes", "no", *others), ("yes/no", "other"), ((0, 1), (2, 3))
    )
    network = MF2MVQA(MF2MVQAConfig((4, 4, 4, 4, 4), 1, 4, 4, 2 + NUMBER, 2, 8, 2, 2, grid=2))
    network.get_buffer("admissible").copy_(vocabulary.admissible)
    logits = torch.cat([torch.tensor([[2.0, 0.0]]), torch.full((1, NUMBER), 5.0)], dim=1).repeat(10, 1)
    return network, vocabulary, AnswerOutput(logits, torch.tensor([[9.0, -9.0]]).repeat(10, 1), torch.zeros(10, 5, 4))


def test_the_temperature_is_the_best_one_of_what_the_graph_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary, output = overconfident()
    monkeypatch.setattr(exporting, "answers_of", lambda *_: (network.probabilities(output), output.types.argmax(dim=1)))
    answers = [*["yes"] * 6, *["no"] * 2, "other 1", "unheard of"]  # the last two cannot be answered rightly

    def cost(temperature: float) -> float:
        p = network.probabilities(output, temperature)
        return -float(6 * p[0, 0].log() + 2 * p[6, 1].log())

    best = min((float(t) for t in np.geomspace(0.5, 4.0, 31)), key=cost)
    assert 1.7 < best < 2.0, "yes is right in 3 of 4: odds of 3, t = 2 / log 3"
    assert best_temperature(network, vocabulary, asked_of(*answers)) == pytest.approx(best, abs=1e-3)


def test_where_no_answer_can_be_right_the_temperature_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary, output = overconfident()
    monkeypatch.setattr(exporting, "answers_of", lambda *_: (network.probabilities(output), output.types.argmax(dim=1)))
    assert best_temperature(network, vocabulary, asked_of(*["other 1"] * 10)) == 1.0
    monkeypatch.undo()
    assert best_temperature(network, vocabulary, asked_of("unheard of")) == 1.0
    assert best_temperature(network, vocabulary, asked_of()) == 1.0


def test_the_graphs_hold_nothing_that_tools_wrote(exported: tuple[Path, Bundle, Path]) -> None:
    files = list(exported[1].folder.glob("*.onnx"))
    assert len(files) == 3
    for file in files:
        model = onnx.load(file)
        assert without_traces(onnx.load(file)) == model, file.name
