"""The loop of suggestive annotation: on a pool in which most images are alike, suggesting beats drawing at random."""

import copy
import dataclasses
import itertools
import json
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.inference.suggestive_annotation import pairwise_disagreement, picture_descriptor
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetConfig
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.quantization.config import QuantizationConfig
from leanseg.quantization.layers import fix_portion_, harden_, quantize_
from leanseg.training import suggestive
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.recipe import LossConfig, OptimizerConfig, Recipe
from leanseg.training.suggestive import (
    POLICIES,
    Round,
    SuggestiveConfig,
    annotations_for,
    bootstrap,
    learning_curve,
    mean_dice,
    part_of,
    probabilities_and_descriptors,
    round_from_json,
    trained,
    trained_quantized,
)
from Testing.engine.quantization.lesions import lesions, trained_network

SIDE = 24
RECIPE = Recipe(
    id="small",
    system="inq",
    network="attention_unet",
    config={"widths": [4, 8]},
    preprocessing=PreprocessingConfig(size_ji=(SIDE, SIDE)),
    optimizer=OptimizerConfig(learning_rate=1e-2, batch_size=4, bf16=False),
    loss=LossConfig("dice_bce"),
)
CONFIG = SuggestiveConfig(members=4, start=3, k=3, candidates=6, rounds=4)
SEEDS = (0, 1, 2)
COMMON, RARE = 40, 6


def pictures(kinds: str, seed: int) -> TrainingArrays:
    """`d`: a dark disc on bright ground; `b`: a bright one on dark ground. Where it is differs."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for kind in kinds:
        row, column = generator.uniform(7, SIDE - 7, size=2)
        mask = np.hypot(y - row, x - column) < generator.uniform(4, 6)
        inner, outer = (0.25, 0.8) if kind == "d" else (0.75, 0.2)
        images.append(np.where(mask, inner, outer) + generator.normal(0, 0.1, mask.shape))
        masks.append(mask)
    number = torch.arange(len(kinds))
    return TrainingArrays(
        torch.from_numpy(np.stack(images)[:, None].astype(np.float32)),
        torch.from_numpy(np.stack(masks)[:, None].astype(np.uint8)),
        torch.ones_like(number),
        number,
        tuple(f"{kind}{n}" for n, kind in enumerate(kinds)),
    )


class Features(NamedTuple):
    logits: Tensor
    bottleneck: Tensor


class RandomFeatures(nn.Module):
    """A learner of milliseconds: ridge regression of random features of a pixel, its surroundings and its image."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = 6 * torch.randn(32, 3, 1, 1, generator=generator)
        self.bias = 4 * torch.randn(32, generator=generator)
        self.beta = torch.zeros(32, 1)

    def described(self, images: Tensor) -> Tensor:
        around = nn.functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        whole = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
        pixels = torch.cat([images, around, whole], dim=1) - 0.5
        return torch.relu(nn.functional.conv2d(pixels, self.weight, self.bias))

    def fit(self, images: Tensor, targets: Tensor) -> "RandomFeatures":
        phi = self.described(images).movedim(1, -1).flatten(0, 2)
        wanted = (2 * targets.float() - 1).movedim(1, -1).flatten(0, 2)
        self.beta = torch.linalg.solve(phi.T @ phi + 1e-1 * torch.eye(32), phi.T @ wanted)
        return self

    def features(self, images: Tensor) -> Features:
        phi = self.described(images)
        return Features(4 * (phi.movedim(1, -1) @ self.beta).movedim(-1, 1), phi)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """`learning_curve` with the learner above in the place of the recipe's network."""

    def train(
        recipe: object, arrays: TrainingArrays, indices: list[int], steps: int, seed: int, *more: object
    ) -> object:
        return RandomFeatures(seed).fit(arrays.images[list(indices)], arrays.targets[list(indices)])

    monkeypatch.setattr(suggestive, "trained", train)
    monkeypatch.setattr(suggestive, "trained_quantized", train)


def pool(seed: int) -> TrainingArrays:
    return pictures(COMMON * "d" + RARE * "b", seed)


def curve(policy: str, seed: int, config: SuggestiveConfig = CONFIG, done: tuple[Round, ...] = ()) -> list[Round]:
    held_out = pictures(8 * "d" + 8 * "b", 100 + seed)
    return list(learning_curve(policy, RECIPE, config, pool(seed), held_out, seed, done))


@pytest.mark.usefixtures("fast")
def test_on_a_redundant_pool_suggesting_needs_fewer_annotations() -> None:
    needed = {}
    for policy in ("random", "suggestive"):
        curves = [curve(policy, seed) for seed in SEEDS]
        needed[policy] = [annotations_for(one, 0.8) or len(pool(0)) for one in curves]
    pairs = list(zip(needed["suggestive"], needed["random"], strict=True))
    assert all(ours <= theirs for ours, theirs in pairs), pairs
    assert sum(needed["suggestive"]) < 0.8 * sum(needed["random"]), pairs


@pytest.mark.usefixtures("fast")
def test_every_policy_begins_alike_and_annotates_nothing_twice() -> None:
    curves = {policy: curve(policy, 0) for policy in POLICIES}
    assert len({(one[0].annotated, one[0].dice) for one in curves.values()}) == 1
    for policy, rounds in curves.items():
        assert [len(one.annotated) for one in rounds] == [3, 6, 9, 12, 15]
        assert len(set(rounds[-1].annotated)) == 15 and rounds[-1].suggested == ()
        for before, after in itertools.pairwise(rounds):
            assert after.annotated == before.annotated + before.suggested
        assert (rounds[0].disagreement is None) == (policy == "random")


@pytest.mark.usefixtures("fast")
def test_a_curve_that_was_cut_goes_on_as_if_it_had_not_been() -> None:
    whole = curve("suggestive", 1)
    known = tuple(round_from_json(json.loads(json.dumps(dataclasses.asdict(one)))) for one in whole[:2])
    assert known == tuple(whole[:2])
    assert curve("suggestive", 1, done=known) == whole[2:]


def test_rounding_the_members_by_inq_raises_their_disagreement() -> None:
    """The mechanism of QSA, of members that know the task and so agree; the same networks before and after."""
    members = [trained_network(seed) for seed in SEEDS[:2]]
    rounded = [copy.deepcopy(member) for member in members]
    for network in rounded:
        fix_portion_(quantize_(network, QuantizationConfig(method="inq", bits=7)), 1.0)
        harden_(network)
    images, _ = lesions(24, seed=50)
    plain, quantized = (
        pairwise_disagreement(np.stack([probabilities_and_descriptors(one, images)[0] for one in ensemble]))
        for ensemble in (members, rounded)
    )
    assert quantized > 1.1 * plain > 0


def test_a_bootstrap_sees_63_percent_of_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [len(set(bootstrap(range(200), generator))) / 200 for _ in range(20)]
    assert np.mean(parts) == pytest.approx(1 - 1 / np.e, abs=0.02)
    assert len(bootstrap([4, 7, 9], generator)) == 3 and set(bootstrap([4, 7, 9], generator)) <= {4, 7, 9}


def test_a_part_of_the_arrays_keeps_order_and_repetitions() -> None:
    arrays = pictures("ddb", 0)
    part = part_of(arrays, [2, 0, 0])
    assert part.ids == ("b2", "d0", "d0") and part.cases.tolist() == [0, 1, 2]
    assert torch.equal(part.images[0], arrays.images[2]) and torch.equal(part.targets[1], part.targets[2])


@cache
def short_training() -> AttentionUNet:
    network = trained(RECIPE, pictures(8 * "d", 0), range(8), 8, seed=3)
    assert isinstance(network, AttentionUNet)
    return network


def test_the_same_seed_trains_the_same_network() -> None:
    again = trained(RECIPE, pictures(8 * "d", 0), range(8), 8, seed=3)
    other = trained(RECIPE, pictures(8 * "d", 0), range(8), 8, seed=4)
    first, images = short_training(), pictures("db", 5).images
    with torch.no_grad():
        assert torch.equal(first(images), again(images))
        assert not torch.equal(first(images), other(images))


def test_members_of_qsa_have_weights_that_are_powers_of_two() -> None:
    network = trained_quantized(RECIPE, pictures(8 * "d", 0), range(8), 16, seed=3, bits=5)
    weights = network.get_submodule("decoder.0.convs.0.0").weight.detach()  # type: ignore[operator]
    mantissa, _ = torch.frexp(weights[weights != 0])
    assert set(mantissa.abs().tolist()) == {0.5}
    assert len(weights.unique()) <= 17


def test_the_descriptor_is_the_mean_of_the_deepest_features() -> None:
    network, images = short_training(), pictures("dbd", 1).images
    maps, described = probabilities_and_descriptors(network, images)
    with torch.no_grad():
        features = network.features(images)
    np.testing.assert_allclose(described, features.bottleneck.mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(maps, torch.sigmoid(features.logits), atol=1e-6)


def test_a_network_without_features_is_helped_out_by_pictures() -> None:
    images = pictures("db", 1).images
    maps, described = probabilities_and_descriptors(nn.Conv2d(1, 1, 3, padding=1), images)
    assert maps.shape == (2, 1, SIDE, SIDE)
    np.testing.assert_array_equal(described[1], picture_descriptor(images[1, 0].numpy()))


def test_dice_is_a_mean_over_images() -> None:
    """Everything is foreground: Dice is 2 n / (n + all)."""
    network = AttentionUNet(AttentionUNetConfig(widths=(4, 8))).eval()
    nn.init.constant_(network.head.bias, 50)
    arrays = pictures("dd", 2)
    sizes = arrays.targets.flatten(1).sum(1)
    assert mean_dice(network, arrays) == pytest.approx(float((2 * sizes / (sizes + SIDE * SIDE)).mean()))


def test_annotations_for_a_dice_are_read_between_rounds() -> None:
    rounds = [Round(tuple(range(n)), dice, (), None) for n, dice in ((8, 0.5), (16, 0.4), (24, 0.8))]
    assert annotations_for(rounds, 0.5) == 8
    assert annotations_for(rounds, 0.6) == pytest.approx(20)
    assert annotations_for(rounds, 0.9) is None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no policy named 'sugestive'\. Did you mean 'suggestive'"):
        curve("sugestive", 0)
    with pytest.raises(LeanSegError, match=r"The pool has 46 images; 48 are needed\. Take fewer rounds"):
        curve("random", 0, dataclasses.replace(CONFIG, rounds=15))
    with pytest.raises(ValueError, match="candidates at least k"):
        SuggestiveConfig(k=8, candidates=4)
    with pytest.raises(ValueError, match="steps and final_steps must be 8 or more"):
        SuggestiveConfig(steps=4)
