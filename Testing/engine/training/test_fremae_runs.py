"""Pre-training from a recipe to a run, what a segmentation network takes over from it, and whether it helps."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks import build_network
from leanseg.networks.encoders import encoder_keys
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.training.data.arrays import load_parts
from leanseg.training.export import export
from leanseg.training.fremae import FreMAE, Pretrainer
from leanseg.training.fremae_recipe import FreMAEConfig
from leanseg.training.loss_recipe import LossConfig
from leanseg.training.objectives import Supervised, build_loss
from leanseg.training.provenance import stages_of
from leanseg.training.recipe import OptimizerConfig, Recipe, load_recipe
from leanseg.training.run import train
from leanseg.training.start import give_encoder_
from leanseg.training.trainer import Trainer, new_network
from Testing.engine.training.conftest import NO_AUGMENTATION, SIDE, synthetic_ultrasound
from Testing.engine.training.test_data import BUSI, write_dataset

TINY = ("config.widths=[4,8]", "preprocessing.size_ji=[32,32]", "optimizer.epochs=2", "optimizer.batch_size=4")
BUSI_TINY = (*TINY, 'data.train=["busi:train"]', "optimizer.bf16=false")
VOLUMES = (
    *("brain.size_ji=[32,32]", 'data.train=["brats:all"]', 'data.val=["brats:all"]', "optimizer.epochs=1"),
    *("patches.size_kji=[8,16,16]", "optimizer.batch_size=2", "optimizer.bf16=false"),
)
IN_3D = {
    "segresnet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "trans_bts_v2": {"width": 8, "dim": 16, "heads": 2, "mlp_dim": 16, "grid_kji": [8, 16, 16]},
    "cga_unet": {"width": 8, "attention_width": 4},
}


def silent(done: int, total: int, what: str) -> None: ...


# ── from a recipe to a run, and on to a segmentation network ────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small busi without its masks: nothing may read them."""
    root = tmp_path_factory.mktemp("unlabeled")
    write_dataset(root / "busi", BUSI)
    for mask in (root / "busi" / "masks").iterdir():
        mask.unlink()
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fremae"
    train(load_recipe("fremae_busi", BUSI_TINY), data, folder, resume=False, report=silent)
    return folder


def test_pretraining_needs_no_mask_and_moves_the_encoder_alone(run: Path) -> None:
    recipe = load_recipe("fremae_busi", BUSI_TINY)
    start, end = new_network(recipe), load_file(run / "weights.safetensors")
    moved = {key for key, value in start.state_dict().items() if not torch.equal(value, end[key])}
    assert moved == set(encoder_keys(start))
    header, *rows = (run / "log.csv").read_text(encoding="utf-8").splitlines()
    assert {"high", "low", "val_loss"} <= set(header.split(",")) and len(rows) == 2


def test_what_is_behind_the_encoder_is_kept_to_go_on_with_and_never_in_the_weights(run: Path, data: Path) -> None:
    resume, weights = (load_file(run / name) for name in ("resume.safetensors", "weights.safetensors"))
    assert any(key.startswith("objective/decoder.detail.") for key in resume) and "objective/token" in resume
    assert weights.keys() == new_network(load_recipe("fremae_busi", BUSI_TINY)).state_dict().keys()


def test_an_interrupted_pretraining_ends_where_the_uninterrupted_one_does(
    run: Path, data: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("fremae_busi", BUSI_TINY)
    for stop in (1, 2):
        train(recipe, data, tmp_path / "run", resume=stop > 1, report=lambda done, total, what, stop=stop: done < stop)
    once, twice = (load_file(folder / "resume.safetensors") for folder in (run, tmp_path / "run"))
    assert once.keys() == twice.keys() and all(torch.equal(once[key], twice[key]) for key in once)


def test_a_segmentation_network_takes_the_whole_encoder_and_nothing_else(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = load_recipe("t2kd_student_alone", (*TINY, "seed=7"))
    fresh = new_network(recipe).state_dict()
    with caplog.at_level(logging.WARNING):
        network = new_network(replace(recipe, init=str(run)))
    learned, keys = load_file(run / "weights.safetensors"), encoder_keys(network)
    for key, value in network.state_dict().items():
        assert torch.equal(value, learned[key] if key in keys else fresh[key])
    assert f"all {len(keys)} tensors of the encoder are taken; decoder and frequency mapping blocks" in caplog.text


def test_text_bcs_takes_the_encoder_of_the_same_pictures(run: Path) -> None:
    """Of an attention_unet with as many convolutions; no tensor of it is missing."""
    config = {"widths": [4, 8], "stages": [1], "feeds": "skips", "text": False, "in_channels": 1, "stem_convs": 2}
    learned, network = load_file(run / "weights.safetensors"), build_network("text_bcs", config)
    give_encoder_(network, learned, "it")
    keys = encoder_keys(network)
    assert len(keys) == len([key for key in learned if key.startswith("encoder.")])
    assert all(torch.equal(network.state_dict()[key], learned[key]) for key in keys)


def test_text_guided_training_does_not_throw_a_pretrained_encoder_away(run: Path) -> None:
    settings = (f"init={run}", "config.widths=[4,8]", "config.stages=[1]", "config.attention_widths=[4]")
    with pytest.raises(LeanSegError, match=r'both give an encoder\. To keep .*: --set text\.start=""') as caught:
        new_network(load_recipe("text_bcs", settings))
    assert "\n" not in str(caught.value)
    new_network(load_recipe("text_bcs", (*settings, 'text.start=""')))


def test_another_encoder_is_refused_with_the_tensor_that_does_not_fit(run: Path) -> None:
    recipe = load_recipe("t2kd_student_alone", (*TINY, f"init={run}", "config.widths=[4,16]"))
    with pytest.raises(
        LeanSegError, match=r"was pre-trained for another encoder: encoder\.1\.\S+ has shape .* is needed"
    ):
        new_network(recipe)
    with pytest.raises(LeanSegError, match=r"another encoder: encoder\.0\.\S+ is missing"):
        give_encoder_(build_network("attention_unet", {"widths": [4, 8]}), {}, "it")


def test_med_danet_v2_takes_the_encoder_of_its_residual_unet() -> None:
    source = build_network("residual_unet", {"width": 4})
    target = build_network("med_danet_v2", {"width": 4, "crop_sizes": [8]})
    give_encoder_(target, source.state_dict(), "it")
    assert torch.equal(target.state_dict()["body.first.weight"], source.state_dict()["body.first.weight"])


def test_a_pretraining_is_not_exported(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(LeanSegError, match=r"fremae is a pre-training and segments nothing\. Train on it first: --set"):
        export(run, tmp_path / "bundle", data)


def test_where_it_comes_from_is_written_without_a_dice(run: Path) -> None:
    (stage,) = stages_of(run)
    assert stage["recipe"]["fremae"]["mask_ratio"] == 0.25 and stage["log"]["last_val_dice"] is None


@pytest.mark.parametrize("network", IN_3D)
def test_patches_of_unlabeled_volumes_are_pretrained_in_3d_and_their_encoder_is_taken(
    network: str, brains: Path, tmp_path: Path
) -> None:
    for truth in brains.rglob("*_seg.nii.gz"):
        truth.rename(truth.with_name("hidden.gz"))
    config = f"config={json.dumps(IN_3D[network]).replace(':', '=')}"
    recipe = load_recipe("fremae_brats", (*VOLUMES, f"network={network}", config, "fremae.half_width=2"))
    assert not load_parts(("brats:all",), brains, recipe).targets.any()
    train(recipe, brains, tmp_path / "run", resume=False, report=silent)
    target = new_network(load_recipe(network, (*VOLUMES, config, f"init={tmp_path / 'run'}")))
    fresh = new_network(load_recipe(network, (*VOLUMES, config))).state_dict()
    learned, keys = load_file(tmp_path / "run" / "weights.safetensors"), encoder_keys(target)
    taken = target.state_dict()
    assert all(torch.equal(taken[key], learned[key] if key in keys else fresh[key]) for key in taken)
    assert any(not torch.equal(learned[key], fresh[key]) for key in keys), "it has learned"


def test_slices_of_brains_are_pretrained_from_the_recipe(brains: Path, tmp_path: Path) -> None:
    settings = ("config.width=4", "brain.size_ji=[32,32]", 'data.train=["brats:all"]', 'data.val=["brats:all"]')
    recipe = load_recipe("fremae_brats", (*settings, "optimizer.epochs=1", "optimizer.batch_size=4"))
    train(recipe, brains, tmp_path / "run", resume=False, report=silent)
    assert (tmp_path / "run" / "weights.safetensors").is_file()


def test_a_network_whose_encoder_is_not_known_is_named(small_recipe: Recipe) -> None:
    recipe = replace(small_recipe, network="med_danet", config={"bank_widths": [4]}, fremae=FreMAEConfig())
    with pytest.raises(UnknownNameError, match="no encoder of network named 'MedDANet'"):
        FreMAE.of(recipe, synthetic_ultrasound(2))


def test_two_ways_to_train_exclude_each_other() -> None:
    with pytest.raises(LeanSegError, match=r"distillation and fremae exclude each other"):
        load_recipe("fremae_busi", ("distillation.temperature=2",))


# ── does it help? ───────────────────────────────────────────────────────────────────────────────────────────────────


PHANTOMS = synthetic_ultrasound(8, seed=6, classes=("benign", "malignant"))
ENOUGH = 0.6


def phantom_recipe(seed: int, epochs: int, batch_size: int, **changes: Any) -> Recipe:
    return Recipe(
        **{"id": "phantoms", "system": "fremae", "network": "attention_unet", "config": {"widths": [8, 16, 32]}},
        seed=seed,
        preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
        optimizer=OptimizerConfig(
            learning_rate=5e-3, epochs=epochs, batch_size=batch_size, bf16=False, ema_decay=0.5, weight_decay=1e-5
        ),
        augment=NO_AUGMENTATION,
        loss=LossConfig("dice_bce"),
        **changes,
    )


def steps_to_enough(recipe: Recipe, folder: Path) -> int:
    """Steps, one an epoch, until the Dice of phantoms that were not seen is enough."""
    labeled = synthetic_ultrasound(6, seed=5, classes=("benign", "malignant"))
    trainer = Trainer(recipe, labeled, PHANTOMS, Supervised(build_loss(recipe.loss)), folder)
    while trainer.epoch < recipe.optimizer.epochs:
        trainer.fit(stop_after=1)
        if trainer.log[-1]["val_dice"] >= ENOUGH:
            break
    return trainer.epoch


def test_encoder_and_decoder_of_one_moment_are_validated_in_evaluation_mode(tmp_path: Path) -> None:
    """Not the running mean of the encoder, to which no decoder belongs."""
    recipe = phantom_recipe(0, 1, 8, fremae=FreMAEConfig(half_width=4))
    trainer = Pretrainer(recipe, PHANTOMS, PHANTOMS, FreMAE.of(recipe, PHANTOMS), tmp_path)
    before = trainer.validate()
    for value in trainer.mean.parameters():
        value.zero_()
    trainer.network.train()
    state = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    assert trainer.validate() == before
    assert all(torch.equal(state[key], value) for key, value in trainer.network.state_dict().items())


@pytest.mark.parametrize("seed", [0, 3])
def test_a_pretrained_encoder_needs_half_the_steps_to_the_same_dice(seed: int, tmp_path: Path) -> None:
    """Six labeled phantoms, and 64 others without labels; everything else is the same."""
    pretraining = phantom_recipe(seed, 8, 16, fremae=FreMAEConfig(half_width=4, frequency_bias=0.0))
    unlabeled = synthetic_ultrasound(64, seed=11)
    Pretrainer(pretraining, unlabeled, PHANTOMS, FreMAE.of(pretraining, unlabeled), tmp_path / "fremae").fit()
    scratch = steps_to_enough(phantom_recipe(seed, 40, 6), tmp_path / "scratch")
    pretrained = steps_to_enough(phantom_recipe(seed, 40, 6, init=str(tmp_path / "fremae")), tmp_path / "pretrained")
    assert pretrained <= scratch / 2
