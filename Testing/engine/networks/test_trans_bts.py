import math
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.losses.regions import SoftmaxDiceLoss
from leanseg.networks.trans_bts import TransBTS, TransBTSConfig
from leanseg.processing.preprocess import ModelInput
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL = MappingProxyType(
    {"width": 8, "dim": 16, "layers": 1, "heads": 2, "mlp_dim": 32, "grid_kji": (16, 16, 16), "out_channels": 3}
)
DEAD = 262_656 + 1024
"""A linear encoding and a layer norm that the released network defines and does not use."""


class TestTransBTS(NetworkContract):
    name = "trans_bts"
    small = SMALL
    input_shape = (4, 16, 16, 24)
    refused_shape = (4, 16, 16, 20)
    paper_parameters = 32_987_588 - DEAD
    parameter_tolerance = 0


def small(**changes: object) -> TransBTS:
    torch.manual_seed(0)
    network = TransBTS(TransBTSConfig(**{**SMALL, **changes})).eval()  # type: ignore[arg-type]
    nn.init.normal_(network.position, std=0.5, generator=torch.Generator().manual_seed(5))
    return network


def image(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(1, 4, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def full() -> TransBTS:
    with torch.device("meta"):
        return TransBTS(TransBTSConfig()).eval()


# ── the paper's network, on the meta device ─────────────────────────────────────────────────────────────────────────


def test_macs_are_the_papers(full: TransBTS) -> None:
    """325.4 G convolutions and matrix products of the released code; 333.09 G published, with a wider count."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        full(torch.empty(1, 4, 128, 128, 128, device="meta"))
    macs = counter.get_total_flops() / 2e9
    assert macs == pytest.approx(325.4, abs=0.1)
    assert macs == pytest.approx(333.09, rel=0.03)


def test_most_parameters_are_the_transformers(full: TransBTS) -> None:
    per_layer = 2 * 1024 + 512 * 3 * 512 + 512 * 512 + 512 + 2 * 512 * 4096 + 4096 + 512
    assert count_parameters(full.transformer) == 4 * per_layer == 21_000_192
    assert full.position.numel() == 4096 * 512


def test_tokens_and_skip_connections_have_the_papers_shapes(full: TransBTS) -> None:
    with torch.no_grad():
        skips, deepest = full.encode(torch.empty(1, 4, 128, 128, 128, device="meta"))
        assert [tuple(skip.shape) for skip in skips] == [
            (1, 16, 128, 128, 128),
            (1, 32, 64, 64, 64),
            (1, 64, 32, 32, 32),
        ]
        assert deepest.flatten(2).shape == (1, 512, 4096) and deepest.shape[2:] == (16, 16, 16)
        assert [stage.merge.in_channels for stage in full.decoder] == [128, 64, 32]  # type: ignore[union-attr]
        assert full.decode(skips, deepest).shape == (1, 4, 128, 128, 128)


# ── faithful behavior, on a tiny one ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_skip_connection_counts(level: int) -> None:
    network = small()
    with torch.no_grad():
        skips, deepest = network.encode(image(16, 16, 16))
        expected = network.decode(skips, deepest)
        skips[level] = torch.zeros_like(skips[level])
        assert not torch.allclose(network.decode(skips, deepest), expected, atol=1e-4)


def without_group_norm(network: TransBTS) -> TransBTS:
    """Group norm sees the whole volume too; what is left carries nothing further than its kernels reach."""
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            for n, layer in enumerate(module):
                if isinstance(layer, nn.GroupNorm):
                    module[n] = nn.Identity()
    return network


def change_far_away(network: TransBTS) -> float:
    """Largest change of the logits at one end of a long volume when the other end changes."""
    one = image(8, 8, 368).double()
    other = one.clone()
    other[..., :8] += 100
    with torch.no_grad():
        return float((network(one) - network(other))[..., -8:].abs().max())


def test_one_end_of_the_volume_is_seen_from_the_other() -> None:
    """The convolutions reach 152 voxels to each side: 106 in the encoder and projection, 46 in the decoder."""
    network = without_group_norm(small().double())  # float64: the change is small, and well above rounding
    assert change_far_away(network) > 1e-9
    network.transformer = nn.Sequential()
    assert change_far_away(network) == 0


def test_a_token_is_known_by_its_position() -> None:
    network = small()
    features = torch.ones(1, 16, 2, 2, 2)
    with torch.no_grad():
        seen = network.look_around(features).flatten(2)
        assert all(not torch.allclose(seen[..., 0], seen[..., n], atol=1e-3) for n in range(1, 8))
        network.position.zero_()
        seen = network.look_around(features).flatten(2)
    torch.testing.assert_close(seen, seen[..., :1].expand_as(seen))


def test_the_position_embedding_starts_at_0() -> None:
    assert not TransBTS(TransBTSConfig(**SMALL)).position.any()  # type: ignore[arg-type]


def test_other_grids_interpolate_the_position_embedding_linearly() -> None:
    network = small()
    ramp = torch.linspace(-1, 1, 2)[:, None, None].expand(1, 16, 2, 2, 2)
    network.position.data.copy_(ramp)
    with torch.no_grad():
        assert network.position_embedding(torch.Size((2, 2, 2))) is network.position
        wider = network.position_embedding(torch.Size((4, 2, 3)))
    assert wider.shape == (1, 16, 4, 2, 3)
    torch.testing.assert_close(wider[0, 0, :, 0, 0], torch.tensor([-1.0, -0.5, 0.5, 1.0]))


def test_two_runs_in_evaluation_are_equal_and_in_training_not() -> None:
    """In the released code whole channels drop out in evaluation as well."""
    network = small(channel_dropout=0.5)
    with torch.no_grad():
        assert torch.equal(network(image(16, 16, 16)), network(image(16, 16, 16)))
        network.train()
        assert not torch.equal(network(image(16, 16, 16)), network(image(16, 16, 16)))


@pytest.mark.parametrize(("changes", "layer"), [({"channel_dropout": 0.0}, "transformer"), ({"dropout": 0.0}, "stem")])
def test_both_kinds_of_dropout_act_in_training(changes: dict[str, float], layer: str) -> None:
    network = small(**{"dropout": 0.3, "channel_dropout": 0.5, **changes}).train()
    part = getattr(network, layer)
    x = torch.rand(1, 8, 16) if layer == "transformer" else image(8, 8, 8)
    assert not torch.equal(part(x), part(x))
    other = network.stem if layer == "transformer" else network.transformer
    y = image(8, 8, 8) if layer == "transformer" else torch.rand(1, 8, 16)
    assert torch.equal(other(y), other(y))


def test_the_output_is_logits_so_that_one_softmax_is_applied() -> None:
    with torch.no_grad():
        logits = small()(image(16, 16, 16))
    assert logits.min() < 0 and not torch.allclose(logits.sum(dim=1), torch.ones(1))


def test_a_volume_of_155_slices_keeps_its_place_through_the_sliding_window() -> None:
    """The whole path: engine and network; position and spacing are those of the image."""
    network = small(out_channels=4)

    class Graph:
        runtime = "torch"

        def __call__(self, inputs: object) -> dict[str, np.ndarray]:
            window = torch.from_numpy(inputs["image"])  # type: ignore[index]
            with torch.no_grad():
                p = network(window).softmax(dim=1)[:, 1:]
            return {"probabilities": p.flip(1).cumsum(1).flip(1).numpy()}

    shape = (155, 16, 16)
    geometry = VolumeGeometry(shape, np.diag([-1.0, -1.0, 1.2, 1.0]))
    volume = Volume(image(*shape)[0].numpy(), geometry)
    engine = SlidingWindowEngine(Graph(), SlidingWindowConfig((128, 16, 16)), 1.0, 3)
    prediction = engine.predict(ModelInput(volume))
    assert prediction.probabilities.geometry is geometry
    with torch.no_grad():
        last = network(image(*shape)[:, :, 27:]).softmax(dim=1)
    np.testing.assert_allclose(prediction.probabilities.array[2, 128:], last[0, 3, 101:], atol=1e-5)


def test_softmax_dice_is_0_for_a_perfect_and_3_for_a_wrong_prediction() -> None:
    """The loss sums over all voxels, so a volume may be folded into an image."""
    truth = torch.zeros(1, 3, 8, 8, 8)
    truth[:, 0, 1:7, 1:7, 1:7] = 1
    truth[:, 1, 2:6, 2:6, 2:6] = 1
    truth[:, 2, 3:5, 3:5, 3:5] = 1
    classes = truth.sum(dim=1).long()  # 0 outside, 1 edema, 2 necrosis, 3 enhancing
    index = torch.tensor([0, 2, 1, 3])[classes]
    perfect = 50.0 * nn.functional.one_hot(index, 4).movedim(-1, 1)
    wrong = 50.0 * nn.functional.one_hot((index + 1) % 4, 4).movedim(-1, 1)
    loss = SoftmaxDiceLoss()
    assert float(loss(perfect.flatten(2, 3), truth.flatten(2, 3))) == pytest.approx(0, abs=1e-5)
    assert float(loss(wrong.flatten(2, 3), truth.flatten(2, 3))) == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize(
    "values",
    [{"width": 12}, {"dim": 10, "heads": 4}, {"grid_kji": (16, 16, 20)}, {"out_channels": 1}, {"dropout": 1.0}],
)
def test_a_config_that_cannot_be_built_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        TransBTSConfig(**values)  # type: ignore[arg-type]


def test_the_published_parameters_are_these_and_the_dead_layers(full: TransBTS) -> None:
    assert count_parameters(full) + DEAD == 32_987_588
    assert math.isclose(count_parameters(full), 32.99e6, rel_tol=0.01)
