import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from leanseg.errors import LeanSegError
from leanseg.networks.text_encoder import SmallTextNetwork, TextEncoderConfig
from leanseg.prompts.encoder import SmallTextEncoder
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.text_corpus import reduced_tokenizer
from leanseg.training.text_distillation import Distillation, distillation_loss, train_text_encoder
from leanseg.training.text_encoder import TextEncoderRecipe, encoder_of, load_text_encoder, text_graph
from leanseg.training.text_lessons import Lessons, lessons_of
from Testing.engine.training.text_teacher_stub import StubTeacher

TEXTS = [
    f"{a} {b} {c}" for a in ("one", "small", "the") for b in ("mass", "tumor") for c in ("left", "upper right", "9")
]
NETWORK = TextEncoderConfig(vocabulary=90, length=10, width=8, layers=1, heads=2, out_width=6, dropout=0.1)
RECIPE = TextEncoderRecipe(teacher="stub", network=NETWORK, epochs=6, batch_size=5, learning_rate=1e-2)


@pytest.fixture
def lessons(tmp_path: Path) -> Lessons:
    teacher = StubTeacher()
    tokenizer_json, numbers = reduced_tokenizer(teacher.tokenizer_json, TEXTS, 90)
    return lessons_of(TEXTS, tokenizer_json, numbers, teacher, tmp_path / "teacher.safetensors")


def test_lessons_hold_the_teachers_vectors(lessons: Lessons) -> None:
    teacher = StubTeacher()
    ids, padding, vectors = lessons.batch(torch.tensor([0, 4]))  # "one mass left", "one tumor upper right"
    assert padding.tolist() == [[False] * 5 + [True], [False] * 6]
    assert not ids[0, 5] and not vectors[0, 5].any()
    numbers = torch.tensor([[3, 52, 45, 46, 4]])  # [CLS], one, mass, left, [SEP] in the stub's vocabulary
    expected = teacher.hidden(numbers, torch.zeros(1, 5, dtype=torch.bool))
    torch.testing.assert_close(vectors[0, :5], expected[0], rtol=1e-3, atol=1e-3)


def test_the_teacher_reads_every_text_once(tmp_path: Path) -> None:
    teacher = StubTeacher()
    tokenizer_json, numbers = reduced_tokenizer(teacher.tokenizer_json, TEXTS, 90)
    cache = tmp_path / "teacher.safetensors"
    first = lessons_of(TEXTS, tokenizer_json, numbers, teacher, cache)
    again = lessons_of(TEXTS, tokenizer_json, numbers, teacher, cache)
    assert teacher.texts_read == len(TEXTS)
    assert torch.equal(first.vectors, again.vectors) and first.checksum == again.checksum
    other = lessons_of(TEXTS[1:], tokenizer_json, numbers, teacher, cache)
    assert teacher.texts_read == 2 * len(TEXTS) - 1
    assert other.checksum != first.checksum


def test_loss_by_hand() -> None:
    recipe = replace(RECIPE, cosine_weight=2.0, mean_weight=3.0)
    teacher = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [7.0, 7.0]], [[-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]])
    padding = torch.tensor([[False, False, True], [False, False, True]])
    assert distillation_loss(teacher, teacher, padding, recipe).item() == pytest.approx(0, abs=1e-6)
    # Pieces: mean 0, variance 1/2 a value; doubled vectors differ by a square of 1/2 on average: ratio 1, cosine 1.
    # Means (±1/2, ±1/2): variance 1/4; doubled they differ by a square of 1/4: ratio 1, cosine 1.
    assert distillation_loss(2 * teacher, teacher, padding, recipe).item() == pytest.approx(1 + 3 * 1, abs=1e-5)
    # Opposite vectors: differences of twice the values, four times the variance; 1 - cosine = 2, both times 2.
    assert distillation_loss(-teacher, teacher, padding, recipe).item() == pytest.approx(
        (4 + 4) + 3 * (4 + 4), abs=1e-5
    )


def test_it_learns(lessons: Lessons, tmp_path: Path) -> None:
    Distillation(replace(RECIPE, epochs=40), lessons, tmp_path / "run").fit()
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 40
    assert losses[-1] < 0.25 * losses[0]


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(lessons: Lessons, tmp_path: Path) -> None:
    Distillation(RECIPE, lessons, tmp_path / "whole").fit()
    Distillation(RECIPE, lessons, tmp_path / "parts").fit(stop_after=2)
    Distillation(RECIPE, lessons, tmp_path / "parts").fit(resume=True)
    for file in ("weights.safetensors", "resume.safetensors"):
        whole, parts = (load_file(tmp_path / run / file) for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_the_seed_decides(lessons: Lessons, tmp_path: Path) -> None:
    first, same, other = (
        Distillation(replace(RECIPE, seed=seed, epochs=1), lessons, tmp_path / name).fit().out.weight
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_words_begin_where_the_teacher_has_them(lessons: Lessons, tmp_path: Path) -> None:
    start = Distillation(RECIPE, lessons, tmp_path / "run").network.piece.weight.detach()
    wanted = lessons.piece_vectors - lessons.piece_vectors.mean(dim=0)
    # 8 dimensions hold the teacher's 6 whole: distances are the same up to one factor.
    ours, theirs = torch.pdist(start), torch.pdist(wanted)
    torch.testing.assert_close(ours / ours.mean(), theirs / theirs.mean(), rtol=1e-4, atol=1e-4)
    assert start.std().item() == pytest.approx(0.1, rel=1e-4)


def test_a_run_is_not_overwritten_and_not_mixed(lessons: Lessons, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(LeanSegError, match="nothing to resume"):
        Distillation(RECIPE, lessons, run).fit(resume=True)
    Distillation(RECIPE, lessons, run).fit(stop_after=1)
    with pytest.raises(LeanSegError, match="holds a run"):
        Distillation(RECIPE, lessons, run).fit()
    with pytest.raises(LeanSegError, match="another recipe or other texts"):
        Distillation(replace(RECIPE, epochs=7), lessons, run).fit(resume=True)
    with pytest.raises(LeanSegError, match="another recipe or other texts"):
        Distillation(RECIPE, replace(lessons, checksum="0"), run).fit(resume=True)


def test_a_loss_that_is_not_finite_is_an_error(lessons: Lessons, tmp_path: Path) -> None:
    broken = replace(lessons, vectors=torch.full_like(lessons.vectors, math.nan))
    with pytest.raises(LeanSegError, match="The loss became nan in epoch 1"):
        Distillation(RECIPE, broken, tmp_path / "run").fit()


def test_report_can_stop_it(lessons: Lessons, tmp_path: Path) -> None:
    trained = Distillation(RECIPE, lessons, tmp_path / "run", report=lambda done, total, what: done < 2)
    trained.fit()
    assert trained.epoch == 2


def test_a_run_is_read_back(lessons: Lessons, tmp_path: Path) -> None:
    trained = Distillation(RECIPE, lessons, tmp_path / "run").fit(stop_after=1)
    network, tokenizer_json = load_text_encoder(tmp_path / "run")
    assert not network.training and network.config == NETWORK and tokenizer_json == lessons.tokenizer_json
    ids, padding, _ = lessons.batch(torch.arange(3))
    with torch.no_grad():
        expected = network(ids, padding)
        assert torch.equal(trained(ids, padding), expected)
    embedding = encoder_of(tmp_path / "run").embed(TEXTS[0].upper())
    np.testing.assert_allclose(embedding.tokens[0, :5], expected[0, :5].numpy(), rtol=0, atol=1e-5)
    assert embedding.padding.tolist() == [[0] * 5 + [1] * 5]
    assert str(tmp_path) not in (tmp_path / "run" / "recipe.json").read_text()


def test_no_run_and_a_damaged_one_are_clear(lessons: Lessons, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match="holds no text encoder"):
        load_text_encoder(tmp_path)
    Distillation(RECIPE, lessons, tmp_path / "run").fit(stop_after=1)
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    recipe["network"]["width"] = 16
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(LeanSegError, match="is damaged"):
        load_text_encoder(tmp_path / "run")


def test_a_recipe_that_does_not_fit_the_teacher_is_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, network=replace(NETWORK, out_width=7))
    with pytest.raises(LeanSegError, match="gives 10 x 6 values; the recipe has 10 x 7"):
        train_text_encoder(recipe, StubTeacher(), tmp_path, tmp_path / "run", False, lambda done, total, what: None)


def test_the_graph_gives_what_the_network_gives(lessons: Lessons) -> None:
    torch.manual_seed(0)
    network = SmallTextNetwork(NETWORK).eval()
    for parameter in network.parameters():  # stored as float16: so that nothing is lost
        parameter.data = parameter.data.half().float()
    graph = text_graph(network).SerializeToString()
    encoder = SmallTextEncoder(OpenVINOGraph(graph, threads=1), lessons.tokenizer_json, length=10, width=6)
    embedding = encoder.embed("the mass left")
    ids, padding, _ = lessons.batch(torch.tensor([12]))
    with torch.no_grad():
        expected = network(ids, padding)
    torch.testing.assert_close(torch.from_numpy(embedding.tokens[:, :5]), expected, rtol=0, atol=1e-5)
    assert not embedding.tokens[:, 5:].any() and expected.abs().max() > 1e-2
    assert str(Path(__file__).parents[3]).encode() not in graph
