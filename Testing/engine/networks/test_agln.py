from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from leanseg.networks.agln import (
    AGLN,
    RESNET_WIDTHS,
    AGLNConfig,
    AGLNDecoder,
    ContextFusion,
    SemanticAggregation,
    SemanticDistribution,
    channel_attention,
    refine,
)
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL = MappingProxyType(
    {
        "in_channels": 2,
        "out_channels": 3,
        "encoder_widths": (4, 6, 8, 12),
        "width": 8,
        "descriptors": 5,
        "fused_width": 10,
        "dropout": 0.0,
    }
)
RESNET_101 = 42_500_160
HEAD = 15_982_990


def switched_on(network: nn.Module) -> nn.Module:
    """alpha and gamma away from 0, where they start and where nothing of the paper's is seen."""
    for module in network.modules():
        if isinstance(module, ContextFusion):
            nn.init.constant_(module.alpha, 0.7)
            nn.init.constant_(module.gamma, 0.4)
    return network


class TestAGLN(NetworkContract):
    name = "agln"
    small = SMALL
    input_shape = (2, 45, 70)  # in no multiple of 32
    refused_shape = None  # too small ones: test_images_below_the_stride_are_refused
    paper_parameters = RESNET_101 + HEAD
    parameter_tolerance = 0

    @pytest.fixture
    def network(self) -> nn.Module:
        torch.manual_seed(0)
        return switched_on(AGLN(AGLNConfig(**SMALL)))  # at 0, alpha and gamma let no gradient through


def small(**changes: object) -> AGLN:
    torch.manual_seed(0)
    return AGLN(AGLNConfig(**{**SMALL, **changes})).eval()  # type: ignore[arg-type]


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decoder_macs(side: int) -> float:
    """Of the paper's decoder and classifier for 60 classes, in 10^9."""
    with torch.device("meta"):
        decoder, classify = AGLNDecoder(RESNET_WIDTHS, 256, 64, 512), nn.Conv2d(512, 60, 1)
        maps = [torch.empty(1, c, side // s, side // s) for c, s in zip(RESNET_WIDTHS, (4, 8, 16, 32), strict=True)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        classify(decoder(maps))
    return counter.get_total_flops() / 2e9


# ── the paper's size, on the meta device ────────────────────────────────────────────────────────────────────────────


def test_parameters_and_macs_of_the_head_are_the_papers() -> None:
    with torch.device("meta"):
        network = AGLN(AGLNConfig())
    assert count_parameters(network.decoder) + count_parameters(network.head) == HEAD == pytest.approx(15.98e6, abs=5e3)
    assert decoder_macs(480) == pytest.approx(124.7, abs=0.05)


def test_its_encoder_is_a_resnet_101_with_four_stages() -> None:
    with torch.device("meta"):
        encoder = AGLN(AGLNConfig()).encoder.eval()
        with torch.no_grad():
            maps = encoder(torch.empty(1, 3, 64, 96))
    assert count_parameters(encoder) == RESNET_101
    assert [tuple(x.shape[1:]) for x in maps] == [(256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 2, 3)]


def test_cost_is_linear_in_the_number_of_pixels() -> None:
    """An attention between all positions would cost 16 times as much for 4 times the pixels."""
    assert decoder_macs(960) == pytest.approx(4 * decoder_macs(480), rel=1e-9)


# ── blocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_aggregation_attends_to_positions_and_distribution_to_descriptors() -> None:
    x = random(2, 8, 6, 7)
    aggregate, distribute = SemanticAggregation(8, 5), SemanticDistribution(8, 5)
    of_positions, of_descriptors = aggregate.attention(x), distribute.attention(x)
    assert of_positions.shape == of_descriptors.shape == (2, 5, 42)
    torch.testing.assert_close(of_positions.sum(dim=2), torch.ones(2, 5))
    torch.testing.assert_close(of_descriptors.sum(dim=1), torch.ones(2, 42))


def test_descriptors_are_means_of_features_over_the_positions_attended_to() -> None:
    x, aggregate = random(1, 8, 3, 4), SemanticAggregation(8, 5)
    nn.init.zeros_(aggregate.attend.weight)
    assert aggregate.attend.bias is not None
    nn.init.zeros_(aggregate.attend.bias)  # attends to all alike
    expected = aggregate.feature(x).mean(dim=(2, 3))[:, :, None].expand(1, 8, 5)
    torch.testing.assert_close(aggregate(x), expected)


def test_every_position_takes_a_mixture_of_the_descriptors() -> None:
    a, d, distribute = random(1, 8, 3, 4), random(1, 8, 5, seed=2), SemanticDistribution(8, 5)
    position = distribute.attention(a)[0, :, 7]  # row 1, column 3
    expected = distribute.out((d[0] @ position)[None, :, None, None])
    torch.testing.assert_close(distribute(a, d)[:, :, 1:2, 3:4], expected)


def test_channel_attention_is_reversed_the_most_similar_channel_weighs_least() -> None:
    a, b = random(2, 6, 5, 5), random(2, 6, 5, 5, seed=2)
    weights, energy = channel_attention(a, b), torch.einsum("bihw,bjhw->bij", a, b)
    assert weights.shape == (2, 6, 6)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, 6))
    assert torch.equal(weights.argmin(dim=2), energy.argmax(dim=2))
    assert torch.equal(weights.argmax(dim=2), energy.argmin(dim=2))


def test_channel_attention_by_hand() -> None:
    a = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    b = torch.tensor([[[[3.0, 1.0]], [[1.0, 1.0]]]])
    # E = [[3, 1], [2, 2]]; row maximum - E = [[0, 2], [0, 0]]
    expected = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]]).softmax(dim=2)
    torch.testing.assert_close(channel_attention(a, b), expected)
    m = torch.zeros_like(b)  # sigmoid(0) = 1/2
    torch.testing.assert_close(refine(a, b, m).flatten(2), 0.5 * expected @ b.flatten(2))


def test_channel_attention_is_that_of_float32_under_autocast() -> None:
    a, b = random(1, 8, 64, 64).relu(), random(1, 8, 64, 64, seed=2).relu()
    expected = channel_attention(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(channel_attention(a, b), expected)


# ── decoder ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def maps_of(network: AGLN) -> list[Tensor]:
    with torch.no_grad():
        maps: list[Tensor] = network.encoder(random(1, 2, 64, 96))
    return maps


def plain_pyramid(decoder: AGLNDecoder, maps: list[Tensor]) -> Tensor:
    """Top-down sums with the convolutions of the decoder, and nothing else of it."""

    def to(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)

    decoded = [decoder.deepest(maps[3])]
    for lateral, fusions, encoded in zip(decoder.laterals, decoder.fusions, maps[2::-1], strict=True):
        b = lateral(encoded)
        a = to(decoded[-1], b)
        for fusion in fusions:  # type: ignore[union-attr]
            a = fusion.conv(a + b)
        decoded.append(a)
    scales = [decoded[0], *(smooth(x) for smooth, x in zip(decoder.smooth, decoded[1:], strict=True))]
    result: Tensor = decoder.fuse(torch.cat([to(x, maps[0]) for x in scales], dim=1))
    return result


def test_it_starts_as_a_feature_pyramid() -> None:
    network = small()
    maps = maps_of(network)
    with torch.no_grad():
        expected = plain_pyramid(network.decoder, maps)
        torch.testing.assert_close(network.decoder(maps), expected)
        assert not torch.allclose(switched_on(network).decoder(maps), expected, atol=1e-4)  # type: ignore[operator]


@pytest.mark.parametrize(("scale", "stages"), [(0, {0, 1, 2}), (1, {1, 2}), (2, {2})])
def test_descriptors_of_a_scale_reach_every_finer_stage(
    scale: int, stages: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what a fusion distributes may change: other descriptors keep their value, and so do the maps it gets."""
    network = small()
    switched_on(network)
    maps = maps_of(network)
    seen: list[Tensor] = []
    kept: list[Tensor] = []

    def run(add: float) -> list[Tensor]:
        def descriptors(n: int) -> Tensor:
            return kept[n] + (add if n == scale else 0.0)

        for n, aggregate in enumerate(network.decoder.aggregations):
            monkeypatch.setattr(aggregate, "forward", lambda x, n=n: descriptors(n))
        seen.clear()
        with torch.no_grad():
            network.decoder(maps)
        return list(seen)

    for n, aggregate in enumerate(network.decoder.aggregations):
        kept.append(random(1, 8, 5, seed=10 + n))
        assert isinstance(aggregate, SemanticAggregation)
    for fusions in network.decoder.fusions:
        for fusion in fusions:  # type: ignore[union-attr]
            fusion.register_forward_hook(lambda module, inputs, output: seen.append(inputs[2]))
    changed = [not torch.equal(a, b) for a, b in zip(run(0.0), run(1.0), strict=True)]
    stage_of = [0, 1, 1, 2, 2, 2]
    assert {stage for stage, change in zip(stage_of, changed, strict=True) if change} == stages
    assert sum(changed) == len(stages), "one fusion of each stage"
    number_in_stage = [0, 0, 1, 0, 1, 2]
    assert {n for n, change in zip(number_in_stage, changed, strict=True) if change} == {scale}, "the coarsest first"


def test_descriptors_of_the_deepest_map_change_all_three_decoded_stages() -> None:
    """Through M alone: with alpha = gamma = 0 the same perturbation changes nothing."""

    def decoded(network: AGLN, add: float) -> list[Tensor]:
        seen: list[Tensor] = []
        first = network.decoder.aggregations[0]
        hooks = [first.register_forward_hook(lambda module, inputs, output: output + add)]
        hooks += [
            f[-1].register_forward_hook(lambda m, i, output: seen.append(output)) for f in network.decoder.fusions
        ]  # type: ignore[index]
        with torch.no_grad():
            network.decoder(maps_of(network))
        for hook in hooks:
            hook.remove()
        return seen

    network = small()
    assert all(torch.equal(a, b) for a, b in zip(decoded(network, 0.0), decoded(network, 3.0), strict=True))
    switched_on(network)
    changed = [not torch.allclose(a, b) for a, b in zip(decoded(network, 0.0), decoded(network, 3.0), strict=True)]
    assert changed == [True, True, True]


@pytest.mark.parametrize("size", [(33, 47), (45, 100), (64, 64), (32, 127)])
def test_output_has_the_size_of_the_input(size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert small()(random(1, 2, *size)).shape == (1, 3, *size)


def test_any_encoder_of_four_stages_may_feed_the_decoder() -> None:
    """As those of a U-Net: at full, half, quarter and eighth resolution."""
    decoder = AGLNDecoder((3, 5, 7, 9), width=8, descriptors=4, fused_width=6).eval()
    maps = [random(1, c, 24 // s, 32 // s) for c, s in zip((3, 5, 7, 9), (1, 2, 4, 8), strict=True)]
    with torch.no_grad():
        assert decoder(maps).shape == (1, 6, 24, 32)


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_images_below_the_stride_are_refused() -> None:
    with pytest.raises(ValueError, match=r"height and width of at least 32; got \(64, 20\)\. Enlarge the image\."):
        small()(random(1, 2, 64, 20))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_widths": (8, 16)}, r"needs four stages, or none for ResNet-101; got \(8, 16\)"),
        ({"width": 0}, "channels and descriptors must be positive"),
        ({"dropout": 1.0}, "dropout from 0 to below 1"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)
