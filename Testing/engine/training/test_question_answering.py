import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leanseg.errors import LeanSegError
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.networks.mf2_mvqa import MF2MVQA, AnswerOutput, MF2MVQAConfig
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.augment import AugmentConfig
from leanseg.training.data.question_parts import AskedPicture, QuestionSet, load_question_set, question_set
from leanseg.training.data.questions import YES_NO, Question
from leanseg.training.question_answering import (
    QuestionAnswering,
    QuestionBatch,
    QuestionTrainer,
    answers_of,
    checked,
    figures_of,
    prepared,
)
from leanseg.training.question_recipe import QuestionsConfig
from leanseg.training.question_vocabulary import Vocabulary, vocabulary_of
from leanseg.training.recipe import DataConfig, OptimizerConfig, Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from Testing.engine.training.asked_pictures import SIDE, write_vqa_rad

RECIPE = Recipe(
    id="tiny_questions",
    system="mf2_mvqa",
    network="mf2_mvqa",
    config={"stage_widths": [4, 6, 8, 10, 12], "width": 16, "heads": 2, "ratio": 2, "grid": 2, "length": 12},
    preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
    data=DataConfig(train=("vqa_rad:train",), val=("vqa_rad:val",)),
    optimizer=OptimizerConfig(learning_rate=5e-3, epochs=2, batch_size=6, ema_decay=0.5, bf16=False),
    augment=AugmentConfig(rotation_degrees=0.0, elastic=0.0, shadow_probability=0.0),
    questions=QuestionsConfig(),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vqa_rad(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(RECIPE, data, folder, False, lambda done, total, what: None)
    return folder


def trainer(data: Path, folder: Path, recipe: Recipe = RECIPE) -> QuestionTrainer:
    arrays = [load_question_set(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val)]
    filled, vocabulary = prepared(recipe, arrays[0])
    assert recipe.questions is not None
    return QuestionTrainer(filled, *arrays, QuestionAnswering(vocabulary, recipe.questions), folder)


def test_a_run_holds_network_vocabulary_and_what_was_validated(trained: Path) -> None:
    recipe, network = load_run(trained)
    vocabulary = Vocabulary.load(trained)
    config = checked(network).config
    assert (config.vocabulary, config.answers) == (len(vocabulary.pieces), len(vocabulary.answers))
    assert set(vocabulary.answers) == {"yes", "no", "left", "right"}
    admissible = checked(network).get_buffer("admissible")
    position = admissible[vocabulary.types.index("position")]
    assert [vocabulary.answers[n] for n in position.nonzero().flatten().tolist()] == sorted(
        ("left", "right"), key=vocabulary.answers.index
    )
    header = (trained / "log.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "epoch,loss,answer,type,val_open,val_closed,val_overall,seconds"
    assert recipe.config["answers"] == 4


def test_a_resumed_run_repeats_the_uninterrupted_one(data: Path, trained: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path / "run").fit(stop_after=1)
    trainer(data, tmp_path / "run").fit(resume=True)
    expected, found = (load_file(folder / "weights.safetensors") for folder in (trained, tmp_path / "run"))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_it_learns_to_look(data: Path, tmp_path: Path) -> None:
    optimizer = replace(RECIPE.optimizer, epochs=12, batch_size=3, ema_decay=0.9)
    recipe = replace(RECIPE, config={**RECIPE.config, "dropout": 0.0}, optimizer=optimizer)
    learner = trainer(data, tmp_path / "run", recipe)
    network = learner.fit()
    asked = load_question_set(["vqa_rad:train"], data, recipe)
    assert figures_of(checked(network), learner.vocabulary, asked)["open"] > 0.9
    blind = replace(asked, images=torch.zeros_like(asked.images))
    assert figures_of(checked(network), learner.vocabulary, blind)["open"] < 0.7


def batches(data: Path, tmp_path: Path, recipe: Recipe) -> list[QuestionBatch]:
    found = list(trainer(data, tmp_path / "run", recipe)._batches())
    assert all(isinstance(batch, QuestionBatch) for batch in found)
    return found  # type: ignore[return-value]


def test_a_picture_is_looked_at_once_for_all_its_questions_of_a_batch(data: Path, tmp_path: Path) -> None:
    batch = batches(data, tmp_path, RECIPE)[0]
    assert len(batch.images) == 6 and len(batch.ids) == len(batch.targets) == len(batch.classes) == 18
    assert batch.indices.tolist() == [n // 3 for n in range(18)]


def one_picture(text: str, answer: str) -> QuestionSet:
    image = torch.linspace(0, 1, SIDE).expand(1, SIDE, SIDE).half()
    return question_set(
        [AskedPicture(f"p{n}", "part", image, (Question((text,), answer, YES_NO, True),)) for n in range(16)]
    )


@pytest.mark.parametrize(
    ("text", "answer", "is_flipped"),
    [("Is it bright?", "yes", True), ("Is the left half dark?", "yes", False), ("Which half is dark?", "left", False)],
)
def test_pictures_are_mirrored_unless_something_said_knows_sides(
    tmp_path: Path, text: str, answer: str, is_flipped: bool
) -> None:
    asked = one_picture(text, answer)
    augment = AugmentConfig(0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    recipe = replace(RECIPE, augment=augment)
    filled, vocabulary = prepared(recipe, asked)
    assert recipe.questions is not None
    learner = QuestionTrainer(filled, asked, asked, QuestionAnswering(vocabulary, recipe.questions), tmp_path / "run")
    rises = torch.cat([batch.images[:, 0, 0, -1] > batch.images[:, 0, 0, 0] for batch in learner._batches()])
    assert bool(rises.any()) and bool((~rises).any()) == is_flipped


def test_an_epoch_draws_at_most_so_many_pictures_of_each_part(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, questions=QuestionsConfig(per_part=7, per_picture=2))
    found = batches(data, tmp_path, recipe)
    assert [len(batch.images) for batch in found] == [6], "7 of 28, in whole batches"
    assert len(found[0].ids) == 12


def test_the_loss_is_that_of_the_admitted_answers_and_of_the_type() -> None:
    vocabulary = Vocabulary(("[PAD]",), ("yes", "no", "ct"), ("yes/no", "modality"), ((0, 1), (2,)))
    objective = QuestionAnswering(vocabulary, QuestionsConfig(label_smoothing=0.2, type_weight=0.5))
    network = MF2MVQA(MF2MVQAConfig((4, 4, 4, 4, 4), 1, 4, 4, 3, 2, 8, 2, 2, grid=2))
    network.get_buffer("admissible").copy_(vocabulary.admissible)
    output = AnswerOutput(torch.tensor([[1.0, -1.0, 50.0]]), torch.zeros(1, 2), torch.zeros(1, 5, 4))
    loss, parts = objective.loss(network, output, torch.tensor([0]), torch.tensor([0]))
    log_p = torch.tensor([1.0, -1.0]).log_softmax(dim=0)  # the third answer is not admitted
    expected = -(0.8 * log_p[0] + 0.2 * log_p.mean())
    torch.testing.assert_close(parts["answer"], expected)
    torch.testing.assert_close(loss, expected + 0.5 * torch.tensor(2.0).log())


def test_probabilities_of_the_network_go_with_the_questions(data: Path, trained: Path) -> None:
    asked = load_question_set(["vqa_rad:test"], data, RECIPE)
    probabilities, types = answers_of(checked(load_run(trained)[1]), Vocabulary.load(trained), asked)
    assert probabilities.shape == (len(asked.flat), 4) and len(types) == len(asked.flat)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(asked.flat)))


def test_the_backbone_starts_as_the_encoder_of_the_student(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = AttentionUNet(AttentionUNetConfig(widths=(4, 6, 8, 10, 12)))
    save_file(student.state_dict(), tmp_path / "student.safetensors")
    start = replace(RECIPE, questions=QuestionsConfig(start=str(tmp_path / "student.safetensors")))
    learner = trainer(data, tmp_path / "run", start)
    for network in (learner.network, learner.mean):
        assert torch.equal(checked(network).backbone.encoder[0][0][0].weight, student.encoder[0][0][0].weight)  # type: ignore[index]
    other = replace(start, config={**RECIPE.config, "stage_widths": [4, 6, 8, 10, 16]})
    with pytest.raises(LeanSegError, match=r"other shapes than config\.stage_widths"):
        trainer(data, tmp_path / "other", other)
    gone = replace(RECIPE, questions=QuestionsConfig(start="gone.safetensors"))
    with pytest.raises(LeanSegError, match=r"gone\.safetensors, the recipe's questions\.start, cannot be read"):
        trainer(data, tmp_path / "gone", gone)


def test_what_another_run_learned_is_kept(data: Path, trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = AttentionUNet(AttentionUNetConfig(widths=(4, 6, 8, 10, 12)))
    save_file(student.state_dict(), tmp_path / "student.safetensors")
    start = QuestionsConfig(start=str(tmp_path / "student.safetensors"))
    learner = trainer(data, tmp_path / "run", replace(RECIPE, questions=start, init=str(trained)))
    expected = load_file(trained / "weights.safetensors")
    for network in (learner.network, learner.mean):
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("what", ["pieces", "answers", "admitted"])
def test_a_run_with_another_vocabulary_is_no_start(data: Path, trained: Path, tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    vocabulary = Vocabulary.load(trained)
    turned = tuple(reversed(getattr(vocabulary, what)))
    Vocabulary(**{**vars(vocabulary), what: turned}).save(other)
    with pytest.raises(LeanSegError, match="was trained with another vocabulary than tiny_questions") as caught:
        trainer(data, tmp_path / "run", replace(RECIPE, init=str(other)))
    assert "\n" not in str(caught.value)


def test_words_of_training_are_pieces_and_others_are_unknown() -> None:
    vocabulary = vocabulary_of([Question(("Is the LUNG clear?", "lung?"), "yes", YES_NO, True)])
    assert vocabulary.pieces[:4] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]") and "7" in vocabulary.pieces
    assert {"is", "the", "lung", "clear", "?"} <= set(vocabulary.pieces) and "heart" not in vocabulary.pieces
    assert json.loads(vocabulary.tokenizer_json)["model"]["vocab"]["[UNK]"] == 1


def test_recipes_and_parts_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mf2_mvqa learns by .questions. only"):
        replace(RECIPE, questions=None)
    with pytest.raises(ValueError, match="trains a mf2_mvqa"):
        replace(RECIPE, network="attention_unet", config={})
    with pytest.raises(LeanSegError, match="data set with questions named 'glass'"):
        load_question_set(["glass:train"], data, RECIPE)
    wrong = replace(RECIPE, config={**RECIPE.config, "fusion": "all"})
    with pytest.raises(LeanSegError, match="fusion must be one of"):
        train(wrong, data, tmp_path / "run", False, lambda done, total, what: None)
    with pytest.raises(LeanSegError, match="Train the run again"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("name", ["mf2_mvqa", "mf2_mvqa_ablation"])
def test_shipped_recipes_are_for_this_network(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.network == "mf2_mvqa" and recipe.questions is not None
    for fusion in ("joint", "last", "none"):
        assert load_recipe(name, [f"config.fusion={fusion}"]).config["fusion"] == fusion
