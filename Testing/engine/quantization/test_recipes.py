"""A recipe says how its network is quantized; training does it, and what is loaded is what is deployed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leanseg.errors import LeanSegError
from leanseg.losses.weight_balance import WeightBalanceLoss
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.dsq import DSQInputs, DSQWeights, alphas
from leanseg.quantization.inq import INQWeights, codebook, round_starts
from leanseg.quantization.layers import harden_, quantize_, quantized_layers
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.objectives import PhasedObjective, Supervised
from leanseg.training.quantized import QuantizationAware
from leanseg.training.recipe import DistillationConfig, OptimizerConfig, Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.trainer import Trainer, load_run, new_network
from Testing.engine.training.conftest import SIDE, synthetic_ultrasound
from Testing.engine.training.test_data import BUSI, write_dataset

DSQ = QuantizationConfig("dsq", 4, activation_bits=4)
INQ = QuantizationConfig("inq", 5)


def recipe(config: QuantizationConfig | None, epochs: int = 4, bf16: bool = False) -> Recipe:
    return replace(
        load_recipe("t2kd_student", ["config.widths=[4, 8]", f"preprocessing.size_ji=[{SIDE}, {SIDE}]"]),
        optimizer=OptimizerConfig(learning_rate=1e-2, epochs=epochs, batch_size=4, bf16=bf16),
        distillation=None,
        quantization=config,
    )


@pytest.fixture(scope="module")
def arrays() -> tuple[TrainingArrays, TrainingArrays]:
    return synthetic_ultrasound(16), synthetic_ultrasound(8, seed=1)


MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(arrays: tuple[TrainingArrays, TrainingArrays], tmp_path: Path) -> MakeTrainer:
    def make(folder: str, of: Recipe) -> Trainer:
        objective: Supervised | QuantizationAware = Supervised(WeightBalanceLoss())
        if of.quantization is not None:
            objective = QuantizationAware(objective, of.quantization, of.optimizer.epochs)
        return Trainer(of, *arrays, objective, tmp_path / folder)

    return make


def images(arrays: tuple[TrainingArrays, TrainingArrays]) -> Tensor:
    return arrays[1].images.float()


# ── the section ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_setting_asks_for_quantization() -> None:
    asked = load_recipe("t2kd_student", ["quantization.bits=2", "quantization.activation_bits=2"])
    assert asked.quantization == QuantizationConfig("dsq", 2, 2)
    assert Recipe.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert load_recipe("t2kd_student").quantization is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("quantization.bits=9", r"recipe\.quantization: bits of dsq must be a whole number from 1 to 8; got 9"),
        ("quantization.bits=3.5", r"recipe\.quantization\.bits must be int; got 3\.5"),
        ("quantization.method=inc", r"no quantization method named 'inc'\. Did you mean 'inq'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(setting: str, message: str) -> None:
    with pytest.raises(LeanSegError, match=message):
        load_recipe("t2kd_student", [setting])


def test_networks_that_choose_their_bits_are_not_quantized() -> None:
    with pytest.raises(LeanSegError, match="quantization and phases exclude each other"):
        load_recipe("med_danet_v2", ["quantization.bits=4"])


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_student_with_teachers_is_trained_from_files(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data" / "busi", BUSI)
    plain = recipe(None, epochs=1)
    teachers = {name: str(tmp_path / name) for name in ("benign", "malignant")}
    for folder in teachers.values():
        train(plain, tmp_path / "data", Path(folder), resume=False, report=lambda *_: None)
    student = replace(recipe(DSQ, epochs=2), distillation=DistillationConfig(teachers))
    train(student, tmp_path / "data", tmp_path / "student", resume=False, report=lambda *_: None)
    written = json.loads((tmp_path / "student" / "recipe.json").read_text(encoding="utf-8"))
    assert written["quantization"]["bits"] == 4 and written["quantization"]["method"] == "dsq"
    header = (tmp_path / "student" / "log.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"alpha", "out", "att", "feat"} <= set(header)


@pytest.mark.parametrize(("config", "bf16"), [(DSQ, False), (DSQ, True), (INQ, False)])
def test_a_resumed_run_repeats_the_uninterrupted_one(
    make_trainer: MakeTrainer, config: QuantizationConfig, bf16: bool
) -> None:
    of = recipe(config, epochs=3, bf16=bf16)
    whole = make_trainer("whole", of)
    whole.fit()
    make_trainer("parts", of).fit(stop_after=1)
    parts = make_trainer("parts", of)
    parts.fit(resume=True)
    for name in ("resume.safetensors", "weights.safetensors"):
        left, right = load_file(whole.folder / name), load_file(parts.folder / name)
        assert left.keys() == right.keys()
        assert [key for key in left if not torch.equal(left[key], right[key])] == []


def test_alpha_evolves_and_what_quantizers_learn_goes_slowly(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("run", recipe(DSQ))
    assert isinstance(trainer.objective, PhasedObjective)
    weights, learned = trainer.optimizer.param_groups
    assert (weights["lr_factor"], learned["lr_factor"], learned["weight_decay"]) == (1.0, 0.1, 0.0)
    assert weights["weight_decay"] > 0
    trainer.fit()
    assert [row["alpha"] for row in trainer.log] == sorted((row["alpha"] for row in trainer.log), reverse=True)
    assert trainer.log[-1]["alpha"] < 0.1
    for _, layer in quantized_layers(trainer.network):
        assert isinstance(layer.weights, DSQWeights) and isinstance(layer.inputs, DSQInputs)
        assert layer.inputs.seen == 16 and layer.inputs.upper.grad is not None


def test_the_pull_joins_the_loss(make_trainer: MakeTrainer) -> None:
    losses = []
    for pull in (0.0, 1.0):
        trainer = make_trainer("run", recipe(replace(DSQ, alpha_pull=pull)))
        (batch, *_), network = trainer._batches(), trainer.network.train()
        with torch.random.fork_rng(devices=[]):
            losses.append(trainer.objective(network, batch)[0].item())
    each = torch.stack(list(alphas(trainer.network).values()))
    assert losses[1] - losses[0] == pytest.approx(each.square().sum().item(), rel=1e-4)


def test_inq_quantizes_a_portion_a_round_and_starts_each_with_a_fresh_rate(make_trainer: MakeTrainer) -> None:
    of = recipe(INQ, epochs=7)
    trainer = make_trainer("run", of)
    fixed, rates = [], []
    for epoch in range(7):
        trainer.fit(resume=epoch > 0, stop_after=1)
        masks = [layer.weights.is_fixed for _, layer in quantized_layers(trainer.network)]  # type: ignore[union-attr]
        fixed.append(float(torch.cat([mask.flatten() for mask in masks]).float().mean()))  # type: ignore[union-attr]
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert fixed == pytest.approx([0.5, 0.5, 0.75, 0.75, 0.875, 0.875, 1.0], abs=0.01)
    # warm-up of one epoch in each round ends at the full rate; then it decays
    assert [rates[n] for n in (0, 2, 4)] == pytest.approx([0.01] * 3)
    assert all(rates[n] < 0.01 for n in (1, 3, 5, 6))


@pytest.mark.parametrize(
    ("portions", "epochs", "starts"),
    [
        ((0.5, 0.75, 0.875, 1.0), 7, (0, 2, 4, 6)),
        ((1.0,), 5, (0,)),
        ((0.5, 1.0), 10, (0, 9)),
        ((0.5, 0.7, 1.0), 1, (0, 0, 0)),
    ],
)
def test_rounds_are_evenly_apart(portions: tuple[float, ...], epochs: int, starts: tuple[int, ...]) -> None:
    assert round_starts(portions, epochs) == starts


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("config", [DSQ, INQ, QuantizationConfig("uniform", 3)], ids=lambda c: c.method)
def test_a_run_is_loaded_as_it_is_deployed(
    make_trainer: MakeTrainer, arrays: tuple[TrainingArrays, TrainingArrays], config: QuantizationConfig
) -> None:
    trainer = make_trainer("run", recipe(config, epochs=2))
    mean = trainer.fit()
    _, hard = load_run(trainer.folder)
    _, soft = load_run(trainer.folder, hard=False)
    with torch.no_grad():
        expected = mean(images(arrays))
        # the trainer's memory is channels-last, which sums in another order
        torch.testing.assert_close(hard(images(arrays)), soft(images(arrays)))
        assert ((hard(images(arrays)) > 0) == (expected > 0)).float().mean() > 0.995
    levels = 2**config.bits
    for name, _ in quantized_layers(soft):
        assert len(hard.get_parameter(f"{name}.weight").unique()) <= levels
    if config.activation_bits is None:
        assert not list(quantized_layers(hard))


def test_the_running_mean_of_inq_is_of_powers_of_two(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("run", recipe(INQ))
    trainer.fit()
    for _, layer in quantized_layers(trainer.mean):
        assert isinstance(layer.weights, INQWeights)
        book = codebook(layer.weights.top.item(), 5)
        assert set(layer.weights(layer.weight).unique().tolist()) <= set(book)


def test_fewer_bits_go_on_from_more(make_trainer: MakeTrainer) -> None:
    first = make_trainer("8 bits", recipe(replace(DSQ, bits=8, activation_bits=8), epochs=1))
    first.fit()
    of = replace(recipe(replace(DSQ, bits=2, activation_bits=2)), init=str(first.folder))
    network = new_network(of)
    learned = first.mean.state_dict()
    assert all(torch.equal(value, learned[key]) for key, value in network.state_dict().items())
    (name, layer), *_ = quantized_layers(network)
    assert isinstance(layer.weights, DSQWeights) and isinstance(layer.inputs, DSQInputs)
    assert layer.weights.bits == 2 == layer.inputs.bits
    assert len(harden_(network).get_parameter(f"{name}.weight").unique()) <= 4


def test_a_float_run_is_quantized_as_it_is_read(make_trainer: MakeTrainer) -> None:
    first = make_trainer("float", recipe(None, epochs=1))
    first.fit()
    network = new_network(replace(recipe(INQ), init=str(first.folder)))
    expected = quantize_(load_run(first.folder)[1], INQ).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_another_quantization_is_no_start(make_trainer: MakeTrainer) -> None:
    first = make_trainer("first", recipe(DSQ, epochs=1))
    first.fit()
    for other in (None, INQ, replace(DSQ, granularity="channel"), replace(DSQ, activation_bits=None)):
        with pytest.raises(LeanSegError, match=r"^Weights of dsq at 4 bits are no start for another quantization\. "):
            new_network(replace(recipe(other), init=str(first.folder)))


def test_plain_runs_are_what_they_were(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("run", recipe(None, epochs=1))
    trainer.fit()
    assert isinstance(load_run(trainer.folder)[1], nn.Module)
    assert load_file(trainer.folder / "weights.safetensors").keys() == new_network(recipe(None)).state_dict().keys()
