"""A shipped model is adapted to a few cases: the base rests, the adapters learn, and what comes out is a bundle."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from leanseg.api import load_engine, segment
from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks import build_network
from leanseg.networks.blocks.med_adapter import ConvMedAdapter
from leanseg.networks.blocks.residual_unet import ResidualUNet
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.phantom import ultrasound_phantom
from leanseg.quantization.config import QuantizationConfig
from leanseg.runtime.torch_graph import TorchGraph
from leanseg.training.adapt import Adaptation, tuned_parameters, with_base
from leanseg.training.data.arrays import BRATS_FOLDER
from leanseg.training.data.brats import read_cases, read_sequences
from leanseg.training.export import export
from leanseg.training.objectives import build_loss
from leanseg.training.provenance import stages_of
from leanseg.training.recipe import LossConfig, OptimizerConfig, Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.start import is_adapter
from leanseg.training.trainer import load_run, new_network
from leanseg.weights.bundle import Bundle, read_bundle, write_bundle
from leanseg.weights.store import find_bundle
from Testing.engine.training.conftest import synthetic_ultrasound
from Testing.engine.training.test_export import data as data  # a fixture: a small busi of phantoms

FEW = ("optimizer.epochs=2", "optimizer.batch_size=4", "optimizer.bf16=false")
BASES = pytest.mark.parametrize("base", ["t2kd_busi", "med_danet_v2"])


def silent(done: int, total: int, what: str) -> None: ...


def recipe_of(base: str, *settings: str) -> Recipe:
    return with_base(load_recipe("adapt", (f"base={base}", *FEW, *settings)))


def base_network(base: str) -> nn.Module:
    """What the bundle itself is: of a Med-DANet V2 the U-Net of whole slices."""
    bundle = find_bundle(base)
    network = build_network(bundle.card.network, bundle.card.config)
    network.load_state_dict({key: value.float() for key, value in load(bundle.weights()).items()})
    return network.static().eval() if isinstance(network, MedDANetV2) else network.eval()


def images_for(recipe: Recipe) -> Tensor:
    channels = 1 if recipe.brain is None else 4
    return torch.rand(2, channels, 32, 48, generator=torch.Generator().manual_seed(0))


# ── what a base decides ─────────────────────────────────────────────────────────────────────────────────────────────


@BASES
def test_the_adapted_network_starts_as_the_base(base: str) -> None:
    recipe = recipe_of(base)
    network, images = new_network(recipe).eval(), images_for(recipe)
    adapters = [module for module in network.modules() if isinstance(module, ConvMedAdapter)]
    assert len(adapters) == {"t2kd_busi": 5, "med_danet_v2": 4}[base], "one a stage"
    with torch.no_grad():
        expected = base_network(base)(images)
        assert torch.equal(network(images), expected)
        adapters[-1].up.weight.data.fill_(1.0)
        assert not torch.allclose(network(images), expected, atol=1e-3), "and they are on the way"


def test_preprocessing_data_and_loss_follow_the_base() -> None:
    ultrasound, brain = recipe_of("t2kd_busi"), recipe_of("med_danet_v2")
    assert (ultrasound.network, ultrasound.loss.name, ultrasound.size_ji) == ("attention_unet", "dice_bce", (128, 128))
    assert (brain.network, brain.loss.name, brain.size_ji) == ("residual_unet", "regions", (192, 160))
    assert ultrasound.data.train == ("busi:train",) and brain.data.train == ("brats:train",)
    assert ultrasound.system == "t2kd_attention_unet" and brain.system == "med_danet_v2"


def test_what_the_recipe_names_is_kept() -> None:
    recipe = recipe_of(
        "med_danet_v2", 'data.train=["brats:fold1"]', "loss.name=softmax_dice", "config.adapters.ratio=2"
    )
    assert recipe.data.train == ("brats:fold1",) and recipe.loss == LossConfig("softmax_dice")
    assert recipe.config["adapters"]["ratio"] == 2 and recipe.config["width"] == 16


def test_the_values_of_the_base_may_be_repeated() -> None:
    again = ("preprocessing.size_ji=[128,128]", "config.widths=[16,32,64,128,256]", "system=t2kd_attention_unet")
    assert recipe_of("t2kd_busi", *again) == recipe_of("t2kd_busi")
    assert recipe_of("med_danet_v2", "brain.size_ji=[192,160]") == recipe_of("med_danet_v2")
    recipe = recipe_of("t2kd_busi")
    assert with_base(recipe) == recipe


@pytest.mark.parametrize(
    ("base", "setting", "says"),
    [
        ("t2kd_busi", "preprocessing.size_ji=[64,64]", r"preprocessing: .*\(128, 128\).*, not .*\(64, 64\)"),
        ("t2kd_busi", "brain.size_ji=[192,160]", "brain: nothing, not BrainPreprocessingConfig"),
        ("med_danet_v2", "brain.size_ji=[96,96]", r"brain: .*\(192, 160\).*, not .*\(96, 96\)"),
        ("med_danet_v2", "preprocessing.size_ji=[64,64]", r"preprocessing: .*, not .*\(64, 64\)"),
        ("t2kd_busi", "system=trans_bts", "system: t2kd_attention_unet, not trans_bts"),
        ("t2kd_busi", "network=residual_unet", "network: attention_unet, not residual_unet"),
        ("t2kd_busi", "config.widths=[4,8]", r"config\.widths: .*256\], not \[4, 8\]"),
        ("med_danet_v2", "config.paste=zeros", r"config\.paste: nothing, not zeros"),
    ],
)
def test_what_the_base_decides_cannot_be_set(base: str, setting: str, says: str) -> None:
    with pytest.raises(LeanSegError, match=rf"^The base {base} decides {says}.*Leave [a-z.]+ out") as caught:
        recipe_of(base, setting)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("base=text_bcs",), r"^The base text_bcs is a text_bcs; adapters fit into .*Choose another base"),
        (("base=med_danet",), r"^The base med_danet is a med_danet; adapters fit into"),
        (("base=t2kd_busi", "init=runs/x"), r"^init and base both give the weights"),
        (("base=t2kd_busi", 'tune=["tail"]'), r"^tune may name head and norms; got tail"),
        (("base=t2kd_busi", "config.adapters.ratio=0"), r"adapters: ratio and depth must be positive; got 0"),
    ],
)
def test_what_cannot_be_adapted_is_one_clear_line(settings: tuple[str, ...], says: str) -> None:
    with pytest.raises(LeanSegError, match=says):
        with_base(load_recipe("adapt", settings))


def test_a_packed_base_is_refused(student: Bundle, tmp_path: Path) -> None:
    packed = replace(student.card, quantization=asdict(QuantizationConfig()))
    base = write_bundle(packed, {"fp32": b"not used"}, b"codes", tmp_path / "packed")
    with pytest.raises(LeanSegError, match=r"^The base .*packed has packed weights, .*Choose another base") as caught:
        with_base(load_recipe("adapt", (f"base={base.folder}",)))
    assert "\n" not in str(caught.value)


def test_a_base_that_does_not_exist_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no model named 't2kd_bus'\. Did you mean 't2kd_busi'"):
        with_base(load_recipe("adapt", ("base=t2kd_bus",)))


def test_weights_that_do_not_fit_are_refused() -> None:
    recipe = recipe_of("t2kd_busi")
    narrow = replace(recipe, config={**recipe.config, "widths": [4, 8]})
    with pytest.raises(LeanSegError, match=r"weights of t2kd_busi do not fit attention_unet\. Choose another base"):
        new_network(narrow)


def test_a_network_without_adapters_cannot_be_adapted() -> None:
    with pytest.raises(LeanSegError, match=r"AttentionUNet has no adapters\. Give its config a section \[adapters\]"):
        tuned_parameters(build_network("attention_unet", {"widths": [4, 8]}), ())


# ── what learns ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tune", [(), ("head",), ("head", "norms")], ids=str)
def test_only_adapters_and_what_is_named_get_gradients(tune: tuple[str, ...]) -> None:
    recipe = recipe_of("t2kd_busi")
    network, objective = new_network(recipe), Adaptation(build_loss(recipe.loss), tune)
    objective.begin_epoch(network.train(), 0, 1)
    arrays = synthetic_ultrasound(4)
    logits = network(arrays.images)
    objective.loss(logits, arrays.targets.float()).backward()
    learned = {key for key, p in network.named_parameters() if p.grad is not None}
    adapters = {key for key, _ in network.named_parameters() if is_adapter(key, network)}
    head = {"head.weight", "head.bias"} if "head" in tune else set()
    norms = {
        f"{name}.{what}"
        for name, module in network.named_modules()
        for what in ("weight", "bias")
        if isinstance(module, nn.BatchNorm2d) and "norms" in tune
    }
    assert learned == adapters | head | norms
    tuned = {id(p) for p in objective.parameter_groups(network)[0]["params"]}
    assert tuned == {id(p) for key, p in network.named_parameters() if key in learned}


def tiny_base(like: str, config: dict[str, Any], size_ji: list[int], folder: Path) -> Bundle:
    """A bundle as the shipped one, of a smaller network with random weights; its graph is none."""
    card = find_bundle(like).card
    torch.manual_seed(0)
    network = build_network(card.network, config)
    preprocessing = {**card.preprocessing, "size_ji": size_ji}
    training = card.training if like == "t2kd_busi" else {"stages": []}
    card = replace(card, id=folder.name, config=config, preprocessing=preprocessing, training=training)
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    return write_bundle(card, {"fp32": b"not used"}, save(half), folder)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_base("t2kd_busi", {"widths": [4, 8]}, [64, 64], tmp_path_factory.mktemp("bases") / "student")


@pytest.fixture(scope="module")
def run(student: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of a small student; `data` is the small busi of the export tests."""
    folder = tmp_path_factory.mktemp("runs") / "adapt"
    train(load_recipe("adapt", (*FEW, f"base={student.folder}", "tune=[]")), data, folder, resume=False, report=silent)
    return folder


def test_the_weights_of_the_base_are_bit_identical_after_training(run: Path, student: Bundle) -> None:
    """Batch-norm statistics among them."""
    _, network = load_run(run)
    learned, base = load_file(run / "weights.safetensors"), base_network(str(student.folder)).state_dict()
    assert all(torch.equal(learned[key], value) for key, value in base.items())
    adapters = {key for key in learned if key not in base}
    assert adapters == {key for key in learned if is_adapter(key, network)}
    assert any(learned[key].any() for key in adapters if key.endswith("up.weight"))


def test_an_interrupted_adaptation_ends_where_the_uninterrupted_one_does(
    run: Path, student: Bundle, data: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("adapt", (*FEW, f"base={student.folder}", "tune=[]"))
    for stop in (1, 2):
        train(recipe, data, tmp_path / "run", resume=stop > 1, report=lambda done, total, what, stop=stop: done < stop)
    once, twice = (load_file(folder / "resume.safetensors") for folder in (run, tmp_path / "run"))
    assert once.keys() == twice.keys() and all(torch.equal(once[key], twice[key]) for key in once)


def test_adapters_learn_what_the_base_does_not_know() -> None:
    """Phantoms turned into their negative: the loss of the frozen base falls by its adapters alone."""
    recipe = recipe_of("t2kd_busi", "optimizer.learning_rate=1e-2")
    network, objective = new_network(recipe), Adaptation(build_loss(recipe.loss), ())
    arrays = synthetic_ultrasound(8, classes=("benign", "malignant"))
    images, targets = 1 - arrays.images, arrays.targets.float()
    optimizer = torch.optim.AdamW(objective.parameter_groups(network)[0]["params"], lr=1e-2)
    losses = []
    for _ in range(8):
        objective.begin_epoch(network.train(), 0, 1)
        loss = objective.loss(network(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def bundle(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(run, tmp_path_factory.mktemp("models") / "ours", data)


def test_an_adapted_ultrasound_model_segments_as_any_other(bundle: Bundle, run: Path) -> None:
    assert read_bundle(bundle.folder) == bundle and bundle.card.precisions == ("fp32", "int8")
    image = ultrasound_phantom("benign", seed=2, shape_ji=(96, 112)).image
    result = segment(image, load_engine(str(bundle.folder), precision="fp32"))
    assert result.geometry is image.geometry
    x = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)
    ours = TorchGraph(bundle, "cpu")({"image": x})["probabilities"]
    with torch.no_grad():
        expected = torch.sigmoid(load_run(run)[1](torch.from_numpy(x)) / bundle.card.temperature)
    np.testing.assert_allclose(ours, expected.numpy(), atol=2e-3)  # weights of a bundle are fp16


def test_the_card_names_the_base_and_the_data_of_both(bundle: Bundle, student: Bundle) -> None:
    stages = bundle.card.training["stages"]
    assert [stage["recipe"]["id"] for stage in stages][-2:] == ["t2kd_busi", "adapt"]
    assert stages[-1]["recipe"]["base"] == str(student.folder)
    assert any(text.startswith("BUS-BRA") for text in bundle.card.data_licenses), "the base saw it"


@pytest.mark.slow
def test_an_adapted_brain_model_is_exported_and_segments(brains: Path, tmp_path: Path) -> None:
    config = {"width": 4, "crop_sizes": [16], "paste": "logits", "up_sampling": "nearest"}
    base = tiny_base("med_danet_v2", config, [32, 32], tmp_path / "base")
    settings = (*FEW, f"base={base.folder}", 'data.train=["brats:all"]', 'data.val=["brats:all"]', "optimizer.epochs=1")
    train(load_recipe("adapt", settings), brains, tmp_path / "run", resume=False, report=silent)
    recipe, network = load_run(tmp_path / "run")
    assert isinstance(network, ResidualUNet) and recipe.base == str(base.folder)
    assert network.macs(32, 32) > base_network(recipe.base).macs(32, 32)  # type: ignore[operator]
    bundle = export(tmp_path / "run", tmp_path / "ours", brains)
    model = load_engine(str(bundle.folder), precision="fp32")
    sequences = read_sequences(read_cases(brains / BRATS_FOLDER)[0])
    result = segment(sequences, model)
    assert result.geometry.shape == next(iter(sequences.values())).geometry.shape
    assert [branch["part"] for branch in bundle.card.engine_config["branches"]] == ["whole"]


def test_the_recipe_of_a_run_is_complete(run: Path) -> None:
    recipe, _ = load_run(run)
    values: dict[str, Any] = recipe.to_json()
    assert values["network"] == "attention_unet" and values["config"]["adapters"]["fourier_output"] == "real"
    assert recipe.optimizer == OptimizerConfig(
        learning_rate=3e-3, epochs=2, batch_size=4, weight_decay=1e-4, ema_decay=0.98, bf16=False
    )


def test_a_run_is_exported_when_its_base_is_gone(student: Bundle, run: Path, data: Path, tmp_path: Path) -> None:
    """The bundle of the base is needed to begin and to go on; where it comes from is kept in the run."""
    before = json.loads(json.dumps(stages_of(run)))
    away = student.folder.rename(tmp_path / "elsewhere")
    try:
        card = export(run, tmp_path / "ours", data).card
        with pytest.raises(LeanSegError, match=r"student is not a bundle|no model named"):
            train(load_recipe("adapt", (*FEW, f"base={student.folder}")), data, run, resume=True, report=silent)
    finally:
        away.rename(student.folder)
    assert card.training["stages"] == before and before[-2]["recipe"]["id"] == "t2kd_busi"
    shutil.copytree(run, tmp_path / "older", ignore=shutil.ignore_patterns("base_stages.json"))
    with pytest.raises(LeanSegError, match=r"older does not say where its base comes from \(base_stages\.json\)"):
        stages_of(tmp_path / "older")
