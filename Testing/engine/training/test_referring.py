from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from leanseg.errors import LeanSegError
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.processing.preprocess import PreprocessingConfig, preprocess
from leanseg.prompts.referring import EXPRESSIONS
from leanseg.prompts.referring_words import NOUNS, sentence
from leanseg.prompts.word_pieces import WordPieces
from leanseg.training.augment import AugmentConfig
from leanseg.training.data.referring_pairs import Picture, ReferringPair
from leanseg.training.data.referring_set import ReferringSet, fixed_pairs, load_referring_set, on_grid, referring_set
from leanseg.training.question_vocabulary import tokenizer_json
from leanseg.training.recipe import DataConfig, OptimizerConfig, Recipe, load_recipe
from leanseg.training.referring import (
    PIECES,
    TOKENIZER,
    Referring,
    ReferringBatch,
    ReferringTrainer,
    answers_of,
    checked,
    prepared,
    with_unknown,
)
from leanseg.training.referring_metrics import by_kind, referring_figures
from leanseg.training.referring_recipe import ReferringTrainingConfig
from leanseg.training.run import train
from leanseg.training.trainer import load_run
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.training.referring_pictures import SIDE, write_disks

SIZES = {"width": 16, "layers": 1, "heads": 2, "neck_width": 8, "dropout": 0.0}
RECIPE = Recipe(
    id="tiny_referring",
    system="cm_mask_sd",
    network="cm_mask_sd",
    config={**SIZES, "encoder_widths": [4, 6, 8], "text_width": 16, "text_layers": 1},
    preprocessing=PreprocessingConfig(size_ji=(32, 32)),
    data=DataConfig(train=("monuseg_text:train",), val=("monuseg_text:val",)),
    optimizer=OptimizerConfig(learning_rate=5e-3, epochs=2, batch_size=8, ema_decay=0.5, bf16=False),
    augment=AugmentConfig(rotation_degrees=5.0, elastic=0.0, speckle=0.1, shadow_probability=0.0),
    referring=ReferringTrainingConfig(per_picture=2, val_pairs=12, correlation_weight=0.5),
)
OPTIONS = RECIPE.referring
assert OPTIONS is not None


def silent(done: int, total: int, what: str) -> None:
    """Of training."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_disks(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(RECIPE, data, folder, False, silent)
    return folder


def trainer(data: Path, folder: Path, recipe: Recipe = RECIPE) -> ReferringTrainer:
    arrays = [load_referring_set(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val)]
    assert recipe.referring is not None
    return ReferringTrainer(prepared(recipe), *arrays, Referring(recipe.referring, recipe.seed), folder)


def batches(learner: ReferringTrainer) -> list[ReferringBatch]:
    found = list(learner._batches())
    assert all(isinstance(batch, ReferringBatch) for batch in found)
    return found  # type: ignore[return-value]


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_holds_network_tokenizer_and_what_was_validated(trained: Path) -> None:
    recipe, network = load_run(trained)
    assert checked(network).config.vocabulary == len(PIECES) == recipe.config["vocabulary"]
    assert WordPieces((trained / TOKENIZER).read_text(encoding="utf-8"), 24)("The lesion.")[0] == 2
    header = (trained / "log.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "epoch,loss,val_miou,val_wrong_iou,val_p50,val_found,val_absent_empty,seconds"


def test_a_resumed_run_repeats_the_uninterrupted_one(data: Path, trained: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path / "run").fit(stop_after=1)
    trainer(data, tmp_path / "run").fit(resume=True)
    expected, found = (load_file(folder / "weights.safetensors") for folder in (trained, tmp_path / "run"))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_the_baseline_has_no_masked_branches(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, config={**RECIPE.config, "masked": False}, optimizer=replace(RECIPE.optimizer, epochs=1))
    learner = trainer(data, tmp_path / "run", recipe)
    assert not any("mask_" in name for name in learner.network.state_dict())
    learner.fit()
    assert learner.steps_per_epoch == trainer(data, tmp_path / "other").steps_per_epoch


def test_all_objects_are_a_lesson_of_their_own(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, config={**RECIPE.config, "finds_objects": True})
    learner = trainer(data, tmp_path / "run", recipe)
    [batch, *_] = batches(learner)
    assert (batch.objects >= batch.targets).all() and (batch.objects > batch.targets).any()
    assert all(torch.equal(batch.objects[n], batch.objects[0]) for n in (batch.indices == 0).nonzero().flatten())
    objective = learner.objective
    objective.begin_epoch(learner.network, 0, 2)
    loss, _ = objective(learner.network, batch)
    objective.begin_epoch(learner.network, 0, 2)  # the same is hidden
    more, _ = objective(learner.network, replace(batch, objects=1 - batch.objects))
    assert loss.isfinite() and more != loss


def test_the_encoder_starts_with_the_first_stages_of_the_student(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = AttentionUNet(AttentionUNetConfig(widths=(4, 6, 8, 10, 12)))
    save_file(student.state_dict(), tmp_path / "student.safetensors")
    assert OPTIONS is not None
    start = replace(OPTIONS, start=str(tmp_path / "student.safetensors"), encoder_lr_factor=0.25)
    learner = trainer(data, tmp_path / "run", replace(RECIPE, referring=start))
    for network in (learner.network, learner.mean):
        own = network.get_submodule("encoder.backbone.encoder").state_dict()
        assert all(torch.equal(value, student.encoder.state_dict()[key]) for key, value in own.items())
    assert [group["lr_factor"] for group in learner.optimizer.param_groups] == [1.0, 0.25]
    other = replace(RECIPE, referring=start, config={**RECIPE.config, "encoder_widths": [4, 6, 10]})
    with pytest.raises(LeanSegError, match=r"other shapes than config\.encoder_widths"):
        trainer(data, tmp_path / "other", other)
    gone = replace(RECIPE, referring=replace(OPTIONS, start="gone.safetensors"))
    with pytest.raises(LeanSegError, match=r"gone\.safetensors, the recipe's referring\.start, cannot be read"):
        trainer(data, tmp_path / "gone", gone)


# ── what is learned from ────────────────────────────────────────────────────────────────────────────────────────────


def test_scenes_are_others_in_each_epoch_and_the_same_for_one_seed(data: Path, tmp_path: Path) -> None:
    learner, again = trainer(data, tmp_path / "run"), trainer(data, tmp_path / "again")
    first, same = batches(learner), batches(again)
    assert all(
        torch.equal(one.images, two.images) and torch.equal(one.ids, two.ids)
        for one, two in zip(first, same, strict=True)
    )
    learner.epoch = 1
    assert not torch.equal(batches(learner)[0].images, first[0].images)


def test_each_scene_is_looked_at_once_for_all_its_sentences(data: Path, tmp_path: Path) -> None:
    batch = batches(trainer(data, tmp_path / "run"))[0]
    assert len(batch.images) == 4 and len(batch.ids) == len(batch.targets) == 8
    assert batch.indices.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def mirrored_disks() -> ReferringSet:
    """A bright disk on the left and a dark one on the right."""
    labels = np.zeros((32, 32), np.uint8)
    labels[10:18, 4:12], labels[10:18, 20:28] = 1, 2
    return referring_set(
        [("part", [Picture(np.choose(labels, [0.5, 1.0, 0.0]).astype(np.float32), labels)] * 16)], (32, 32)
    )


def test_what_is_said_is_true_of_the_mirrored_picture(tmp_path: Path) -> None:
    pictures = mirrored_disks()
    augment = AugmentConfig(0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert OPTIONS is not None
    recipe = replace(
        RECIPE, augment=augment, referring=replace(OPTIONS, per_picture=8, absent_fraction=0.0, kinds=("place",))
    )
    learner = ReferringTrainer(prepared(recipe), pictures, pictures, Referring(OPTIONS, 0), tmp_path / "run")
    leftmost, left_is_bright = PIECES.index("leftmost"), []
    for _ in range(4):
        for batch in batches(learner):
            for ids, target, owner in zip(batch.ids, batch.targets[:, 0] > 0, batch.indices.tolist(), strict=True):
                if leftmost in ids:
                    assert target[:, :16].any() and not target[:, 16:].any()
                    left_is_bright.append(bool(batch.images[owner, 0][target].mean() > 0.7))
        learner.epoch += 1
    assert any(left_is_bright) and not all(left_is_bright), "pictures of both kinds were seen"


def test_words_that_are_dropped_become_unknown_and_the_ends_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    assert with_unknown((2, 7, 8, 9, 3), 0.999999, generator) == (2, 1, 1, 1, 3)
    assert with_unknown((2, 7, 8, 9, 3), 0.0, generator) == (2, 7, 8, 9, 3)


def test_every_wording_of_the_grammar_is_read_as_a_whole() -> None:
    read, rng = WordPieces(tokenizer_json(PIECES), 24), np.random.default_rng(0)
    for expression in EXPRESSIONS:
        for noun in NOUNS:
            pieces = read(sentence(expression, noun, rng))
            assert 1 not in pieces and len(pieces) < 24


# ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (64, 64), (33, 50)])
def test_pictures_come_onto_the_grid_as_in_use(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[10:20, 10:30] = 3
    image = np.where(labels > 0, 1.0, np.linspace(0, 0.5, shape[1])).astype(np.float32)
    found, moved, box = on_grid(Picture(image, labels), (32, 32))
    volume = Volume(image[None, None], VolumeGeometry((1, *shape), np.eye(4), False))
    expected = preprocess(volume, PreprocessingConfig((32, 32)))
    np.testing.assert_array_equal(found, expected.volume.array[0, 0])
    mask = volume.with_array((labels > 0).astype(np.float32)[None, None])
    for step in expected.trace.steps:
        mask = step.apply(mask)
    assert ((moved == 3) != (mask.array[0, 0] >= 0.5)).sum() <= 4, "but for edges between two pixels"
    outside = np.ones((32, 32), bool)
    outside[box] = False
    assert not found[outside].any() and found[box][:, [0, -1]].shape[0] > 0


def test_nothing_is_put_where_a_picture_is_padded(data: Path) -> None:
    labels = np.zeros((80, 40), np.uint8)
    labels[20:34, 10:24] = 1
    image = np.where(labels > 0, 0.2, 0.8).astype(np.float32)
    pictures = referring_set([("part", [Picture(image, labels)] * 3)], (32, 32))
    for seed in range(20):
        scene = pictures.scene(0, np.random.default_rng(seed), 4, 0.0)
        assert not scene.labels[:, :8].any() and not scene.labels[:, 24:].any()


def test_the_pairs_of_validation_are_the_same_each_time_and_of_every_part(data: Path) -> None:
    val = load_referring_set(("monuseg_text:val", "monuseg_text:test"), data, RECIPE)
    first, again = (fixed_pairs(val, 6, 3, OPTIONS) for _ in range(2))
    assert len(first) == 12 and [one.text for one in first] == [one.text for one in again]
    assert all(np.array_equal(one.image, two.image) for one, two in zip(first, again, strict=True))


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def pair(mask: slice | None, others: slice | None, kind: str = "size") -> ReferringPair:
    """Of columns of a picture of one row."""
    masks = np.zeros((2, 1, 10), bool)
    for n, columns in enumerate((mask, others)):
        if columns is not None:
            masks[n, 0, columns] = True
    return ReferringPair(np.zeros((1, 10), np.float32), "", masks[0], masks[1], kind)


def test_figures_are_those_computed_by_hand() -> None:
    pairs = [pair(slice(0, 4), slice(6, 10)), pair(slice(0, 4), slice(6, 10), "side"), pair(None, slice(0, 2), "side")]
    answers = torch.zeros(3, 1, 10, dtype=torch.bool)
    answers[0, 0, :3] = True
    answers[1, 0, 6:] = True
    expected = {"miou": 0.375, "wrong_iou": 0.5, "p50": 0.5, "found": 1.0, "absent_empty": 1.0}
    assert referring_figures(answers, pairs) == pytest.approx(expected)
    kinds = by_kind(answers, pairs)
    assert kinds["size"]["miou"] == 0.75 and kinds["side"] == pytest.approx(
        {"miou": 0.0, "wrong_iou": 1.0, "p50": 0.0, "found": 1.0, "absent_empty": 1.0, "n": 2.0}
    )
    assert np.isnan(kinds["size"]["absent_empty"])


def test_answers_of_a_run_go_with_its_pairs(data: Path, trained: Path) -> None:
    learner = trainer(data, trained.parent / "other")
    network = checked(load_run(trained)[1])
    probability, existence = answers_of(network, learner.read, learner.val_pairs)
    assert probability.shape == (12, 32, 32) and existence.shape == (12,)
    dropped, _ = answers_of(network, learner.read, learner.val_pairs, drop_word=0.5)
    assert not torch.equal(dropped, probability)
    log = (trained / "log.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert referring_figures(probability > 0.5, learner.val_pairs)["miou"] == pytest.approx(float(log[2]), abs=1e-6)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_recipes_that_do_not_fit_are_refused_with_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cm_mask_sd learns by .referring. only"):
        replace(RECIPE, referring=None)
    with pytest.raises(ValueError, match="trains a cm_mask_sd"):
        replace(RECIPE, network="attention_unet", config={})
    for setting, said in (
        ("referring.per_picture=0", "per_picture and val_pairs must be positive"),
        ("referring.absent_fraction=2.0", "lie from 0 to 1"),
        ("referring.drop_word=1.0", "drop_word lies from 0 to below 1"),
        ("referring.encoder_rate=1.0", "encoder_rate"),
    ):
        with pytest.raises(LeanSegError, match=said) as caught:
            load_recipe("cm_mask_sd", [setting])
        assert "\n" not in str(caught.value)
    assert OPTIONS is not None
    for wrong, said in (
        (replace(RECIPE, config={**RECIPE.config, "selection": "all"}), "selection must be one of"),
        (replace(RECIPE, referring=replace(OPTIONS, masked_weight=-1.0)), "weights must be 0 or more"),
        (replace(RECIPE, preprocessing=PreprocessingConfig(size_ji=(30, 30))), "multiples of 4"),
        (replace(RECIPE, data=DataConfig(train=("glass:train",), val=("glass:val",))), "data set"),
        (replace(RECIPE, data=DataConfig(train=("monuseg_text:none",))), "selects no picture"),
    ):
        with pytest.raises(LeanSegError, match=said) as caught:
            train(wrong, data, tmp_path / "run", False, silent)
        assert "\n" not in str(caught.value)
    assert SIDE == 80


@pytest.mark.parametrize("name", ["cm_mask_sd", "cm_mask_sd_ablation"])
def test_shipped_recipes_are_for_this_network(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.network == "cm_mask_sd" and recipe.referring is not None
    assert recipe.referring.correlation_weight > 0
    assert not load_recipe(name, ["config.masked=false"]).config["masked"]
