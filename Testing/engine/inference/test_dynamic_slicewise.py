"""The dynamic engine against the networks in torch, and against what was decided."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine
from leanseg.inference.uncertainty import nested_entropy
from leanseg.networks.blocks.bits import BitChooser
from leanseg.networks.med_danet import MedDANet
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.training.dynamic_graphs import dynamic_config
from Testing.engine.dynamic_networks import (
    EVERY_DECISION,
    IMAGES,
    SIZE,
    TEMPERATURE,
    N,
    engine_from,
    engine_of,
    exported_med_danet_v2,
    made,
    med_danet,
    med_danet_v2,
    model_input,
    region_probabilities,
)


@pytest.fixture(scope="module")
def v2() -> MedDANetV2:
    return med_danet_v2()


@pytest.fixture(scope="module")
def engine(v2: MedDANetV2) -> DynamicSlicewiseEngine:
    return engine_from(exported_med_danet_v2(), dynamic_config(v2, SIZE, TEMPERATURE))


@pytest.fixture(scope="module")
def v1() -> MedDANet:
    return med_danet()


@pytest.fixture(scope="module")
def v1_engine(v1: MedDANet) -> DynamicSlicewiseEngine:
    return engine_of(v1)


def in_torch(network: nn.Module, decisions: Mapping[int, int] | None, **options: Any) -> Any:
    with torch.no_grad():
        chosen = None if decisions is None else torch.tensor([decisions[k] for k in range(N)])
        return network.predict(IMAGES, chosen, **options)  # type: ignore[operator]


# ── agreement with torch ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_decision_agrees_with_the_network_in_torch(v2: MedDANetV2, engine: DynamicSlicewiseEngine) -> None:
    prediction = engine.predict(model_input(IMAGES), overrides=EVERY_DECISION)
    expected = in_torch(v2, EVERY_DECISION, quantize=False)
    p = region_probabilities(expected.logits)
    assert np.abs(prediction.probabilities.array - p).max() <= 1e-4
    assert p.max() > 0.2 and p[:, 3].std() > 0.01, "probabilities this flat agree with anything"
    assert made(prediction.notes, "corner_ji") == expected.corners.tolist()


def test_what_the_network_decides_is_done(v2: MedDANetV2, engine: DynamicSlicewiseEngine) -> None:
    expected = in_torch(v2, None, quantize=False)
    notes = engine.predict(model_input(IMAGES)).notes
    names = ("skip", "crop_16", "crop_24", "whole")
    assert made(notes, "decision") == [names[d] for d in expected.decisions]
    assert set(made(notes, "decision")) == set(names), "every decision must occur"
    assert tuple(notes["decisions"].values()) == expected.cost.histogram and tuple(notes["decisions"]) == names


def test_bits_are_those_that_the_selectors_ask_for(v2: MedDANetV2, engine: DynamicSlicewiseEngine) -> None:
    notes = engine.predict(model_input(IMAGES), overrides=dict.fromkeys(range(N), 3)).notes
    with torch.no_grad():
        chooser = BitChooser(v2.selectors, IMAGES, quantize=False)
        v2.body(IMAGES, chooser)
    expected = torch.stack(chooser.chosen, dim=1).int().tolist()
    assert made(notes, "bits") == expected
    assert {bit for row in expected for bit in row} == {8, 16}, "both candidates must occur"


def test_the_cost_is_counted_as_in_torch(v2: MedDANetV2, engine: DynamicSlicewiseEngine) -> None:
    notes = engine.predict(model_input(IMAGES), overrides=EVERY_DECISION).notes
    bits = torch.tensor([one or [0] * 4 for one in made(notes, "bits")], dtype=torch.float32)
    cost = v2.cost(torch.tensor(list(EVERY_DECISION.values())), bits, *SIZE)
    assert notes["gmacs"] == pytest.approx(cost.macs / 1e9, rel=1e-12)
    assert notes["bit_weighted_gmacs"] == pytest.approx(cost.bit_weighted_macs / 1e9, rel=1e-9)
    assert notes["deciding_gmacs"] == pytest.approx(cost.decision_macs / 1e9, rel=1e-12)
    assert sum(made(notes, "gmacs")) == pytest.approx(notes["gmacs"])
    assert notes["slices"] == N and notes["skipped"] == 3
    assert set(notes["seconds"]) == {"decide", "position", "segment"} and min(notes["seconds"].values()) > 0


def test_med_danet_agrees_with_torch_too(v1: MedDANet, v1_engine: DynamicSlicewiseEngine) -> None:
    decisions = {k: k % 3 for k in range(N)}
    prediction = v1_engine.predict(model_input(IMAGES), overrides=decisions)
    expected = in_torch(v1, decisions)
    assert np.abs(prediction.probabilities.array - region_probabilities(expected.logits)).max() <= 1e-4
    assert prediction.notes["gmacs"] == pytest.approx(expected.cost.macs / 1e9, rel=1e-12)
    assert prediction.notes["bit_weighted_gmacs"] == prediction.notes["gmacs"]
    decided = v1_engine.predict(model_input(IMAGES)).notes
    assert tuple(decided["decisions"].values()) == in_torch(v1, None).cost.histogram


def test_a_static_network_segments_every_slice(v2: MedDANetV2) -> None:
    static = v2.static()
    prediction = engine_of(static).predict(model_input(IMAGES))
    with torch.no_grad():
        p = region_probabilities(static(IMAGES))
    assert np.abs(prediction.probabilities.array - p).max() <= 1e-4
    assert prediction.notes["decisions"] == {"skip": 0, "whole": N}
    assert prediction.notes["gmacs"] == pytest.approx(N * static.macs(*SIZE) / 1e9)


def test_int8_is_another_graph_that_says_nearly_the_same(engine: DynamicSlicewiseEngine) -> None:
    fp32 = engine.predict(model_input(IMAGES), overrides=EVERY_DECISION)
    int8 = engine_from(exported_med_danet_v2(), engine.config, "int8").predict(
        model_input(IMAGES), overrides=EVERY_DECISION
    )
    difference = np.abs(int8.probabilities.array - fp32.probabilities.array)
    assert 1e-5 < difference.mean() < 0.03
    agreement = [a == b for a, b in zip(made(int8.notes, "bits"), made(fp32.notes, "bits"), strict=True)]
    assert np.mean(agreement) > 0.7 and made(int8.notes, "corner_ji") == made(fp32.notes, "corner_ji")


# ── quality, overrides, uncertainty ─────────────────────────────────────────────────────────────────────────────────


def test_a_larger_bias_makes_no_slice_dearer_and_the_extremes_are_all_or_nothing(
    engine: DynamicSlicewiseEngine,
) -> None:
    costs = []
    for bias in (-1e6, -1.5, 0.0, 1.5, 1e6):
        notes = engine.predict(model_input(IMAGES), cost_bias=bias).notes
        costs.append(made(notes, "gmacs"))
        extreme = {-1e6: "whole", 1e6: "skip"}.get(bias)
        assert extreme is None or set(made(notes, "decision")) == {extreme}
    assert all(a >= b for dear, cheap in itertools.pairwise(costs) for a, b in zip(dear, cheap, strict=True))
    assert len({sum(one) for one in costs}) >= 3, "the bias must change something in between"


def test_an_override_changes_its_slice_only(engine: DynamicSlicewiseEngine) -> None:
    free = engine.predict(model_input(IMAGES)).notes
    decided = made(free, "decision")
    forced = engine.predict(model_input(IMAGES), overrides={4: 3}, cost_bias=0.0).notes
    assert forced["overrides"] == {4: 3} and forced["cost_bias"] == 0.0
    assert made(forced, "decision") == [*decided[:4], "whole", *decided[5:]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": {N: 1}}, r"There is no slice 11 to override; the model sees 0 to 10"),
        ({"overrides": {-1: 1}}, r"There is no slice -1"),
        ({"overrides": {0: 4}}, r"There is no decision 4\. Choose one of: 0 skip, 1 crop_16, 2 crop_24, 3 whole"),
        ({"cost_bias": float("nan")}, "The cost bias is a finite number"),
    ],
)
def test_what_cannot_be_decided_is_refused(
    engine: DynamicSlicewiseEngine, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LeanSegError, match=message):
        engine.predict(model_input(IMAGES), **options)


def test_uncertainty_is_the_nested_entropy_of_what_was_said(engine: DynamicSlicewiseEngine) -> None:
    prediction = engine.predict(model_input(IMAGES), overrides=EVERY_DECISION)
    expected = nested_entropy(prediction.probabilities.array)
    np.testing.assert_allclose(prediction.uncertainty.array[0], expected, atol=1e-5)
    assert expected[3].max() > 0.1


def test_flip_variance_sees_every_window_mirrored(v2: MedDANetV2, engine: DynamicSlicewiseEngine) -> None:
    """At the place of the first time: crops are cut, then mirrored, and mirrored back."""
    decisions = dict.fromkeys(range(N), 3)
    prediction = engine.predict(model_input(IMAGES), uncertainty="flip_variance", overrides=decisions)
    with torch.no_grad():
        p, mirrored = (region_probabilities(v2.static()(images)) for images in (IMAGES, IMAGES.flip(3)))
    back = mirrored[..., ::-1]
    assert np.abs(prediction.probabilities.array - (p + back) / 2).max() <= 1e-4
    assert np.abs(prediction.uncertainty.array[0] - ((p - back) ** 2).max(axis=0)).max() <= 1e-4
    once = engine.predict(model_input(IMAGES), overrides=decisions).notes
    twice = 2 * once["gmacs"] - once["deciding_gmacs"]
    assert prediction.notes["gmacs"] == pytest.approx(twice)
