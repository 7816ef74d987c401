from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

from leanseg.networks.blocks.deformable import DeformableBottleneck
from leanseg.networks.blocks.volume_unet import TransformerLayer
from leanseg.networks.trans_bts import TransBTS, TransBTSConfig
from leanseg.networks.trans_bts_v2 import TransBTSV2, TransBTSV2Config
from leanseg.training.volumes import count_volume_gmacs
from Testing.engine.networks.contract import NetworkContract, count_parameters

SMALL = MappingProxyType({"width": 8, "dim": 16, "heads": 2, "mlp_dim": 32, "grid_kji": (8, 8, 8), "out_channels": 3})
POSITIONS = 4096 * 512


def moved(network: TransBTSV2) -> TransBTSV2:
    """Offsets of up to a voxel or two, as after training: at 0 they would be seen by no comparison."""
    generator = torch.Generator().manual_seed(3)
    for name, p in network.named_parameters():
        if ".offset." in name:
            nn.init.normal_(p, std=0.7 if p.dim() == 1 else 0.1, generator=generator)
    return network


class TestTransBTSV2(NetworkContract):
    name = "trans_bts_v2"
    small = SMALL
    input_shape = (4, 8, 8, 16)
    refused_shape = (4, 8, 8, 12)
    paper_parameters = 15.3e6 + POSITIONS
    """Published without the position embedding, as far as one can tell."""
    parameter_tolerance = 0.03 * 15.3e6

    @pytest.fixture
    def network(self) -> nn.Module:
        return moved(small())


def small(**changes: object) -> TransBTSV2:
    torch.manual_seed(0)
    return TransBTSV2(TransBTSV2Config(**{**SMALL, **changes})).eval()  # type: ignore[arg-type]


def image(channels: int, *shape: int) -> Tensor:
    return torch.rand(1, channels, *shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def full() -> TransBTSV2:
    with torch.device("meta"):
        return TransBTSV2(TransBTSV2Config()).eval()


def test_macs_are_the_papers_and_a_quarter_less_than_those_of_trans_bts(full: TransBTSV2) -> None:
    gmacs = count_volume_gmacs(full, 4, (128, 128, 128))
    assert gmacs == pytest.approx(240.66, rel=0.03)
    with torch.device("meta"):
        before = TransBTS(TransBTSConfig())
    assert 1 - gmacs / count_volume_gmacs(before, 4, (128, 128, 128)) == pytest.approx(0.2775, abs=0.03)


def test_parameters_are_half_of_those_of_trans_bts(full: TransBTSV2) -> None:
    """Published: 32.99 M and 53.62 % less, the position embedding not counted."""
    assert 1 - (count_parameters(full) - POSITIONS) / 32.99e6 == pytest.approx(0.5362, abs=0.01)


def test_q_and_k_are_wider_than_v_and_the_token(full: TransBTSV2) -> None:
    layer = full.transformer[0]
    assert len(full.transformer) == 1 and isinstance(layer, TransformerLayer)
    attention = layer.attention[1]
    assert attention.widths == (768, 768, 512)
    assert attention.qkv.weight.shape == (768 + 768 + 512, 512) and attention.out.weight.shape == (512, 512)
    assert attention(torch.empty(1, 10, 512, device="meta")).shape == (1, 10, 512)


def test_with_an_expansion_of_1_the_layer_is_torchs_own() -> None:
    torch.manual_seed(0)
    ours = TransformerLayer(dim=16, qk_dim=16, heads=4, mlp_dim=24, dropout=0.1).eval()
    torchs = nn.TransformerEncoderLayer(16, 4, 24, activation="gelu", batch_first=True, norm_first=True).eval()
    (norm1, attention, _), (norm2, first, _, _, second, _) = ours.attention, ours.mlp
    state = {"self_attn.in_proj_weight": attention.qkv.weight, "self_attn.in_proj_bias": torch.zeros(48)}
    for name, module in (
        ("self_attn.out_proj", attention.out),
        *(("norm1", norm1), ("norm2", norm2), ("linear1", first), ("linear2", second)),
    ):
        state |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    torchs.load_state_dict(state)
    z = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(z), torchs(z), rtol=1e-5, atol=1e-5)


def test_the_scale_is_that_of_a_wide_head() -> None:
    """softmax(q k' / sqrt(E d / heads)) v by hand, one head."""
    torch.manual_seed(0)
    attention = TransformerLayer(8, 12, 1, 8, 0.0).eval().attention[1]
    z = torch.randn(1, 4, 8)
    q, k, v = (z @ w.T for w in attention.qkv.weight.split([12, 12, 8]))  # type: ignore[union-attr, operator]
    expected = attention.out(torch.softmax(q @ k.transpose(1, 2) / 12**0.5, dim=2) @ v)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(attention(z), expected)


def test_all_three_skip_connections_have_a_bottleneck(full: TransBTSV2) -> None:
    assert [dbm.layers[0].in_channels for dbm in full.dbms] == [16, 32, 64]  # type: ignore[union-attr, index]
    assert [dbm.layers[0].out_channels for dbm in full.dbms] == [4, 8, 16]  # type: ignore[union-attr, index]
    with torch.no_grad():
        network, x = moved(small()), image(4, 16, 16, 16)
        expected = network(x)
        for dbm in network.dbms:
            last = dbm.layers[-1]  # type: ignore[union-attr, index]
            kept = last.weight.clone()
            last.weight.zero_()
            assert not torch.allclose(network(x), expected, atol=1e-5)
            last.weight.copy_(kept)


def test_a_bottleneck_whose_last_convolution_is_0_changes_nothing() -> None:
    dbm, x = DeformableBottleneck(8, 4, deformable=True).eval(), image(8, 6, 6, 6)
    for p in dbm.layers[-1].parameters():
        p.data.zero_()
    assert torch.equal(dbm(x), x)


def test_it_starts_as_with_ordinary_convolutions() -> None:
    deformable, ordinary = small(), small(dbm="conv")
    state = {key.replace("layers.3.conv.", "layers.3."): v for key, v in deformable.state_dict().items()}
    ordinary.load_state_dict({key: value for key, value in state.items() if ".offset." not in key})
    with torch.no_grad():
        x = image(4, 16, 8, 8)
        torch.testing.assert_close(deformable(x), ordinary(x), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(moved(deformable)(x), ordinary(x), atol=1e-3)


@pytest.mark.parametrize(("channels", "labels"), [(1, 2), (1, 3), (2, 5)])
def test_any_number_of_sequences_and_labels(channels: int, labels: int) -> None:
    """One channel for CT; liver and lesion, or kidney and tumor."""
    with torch.no_grad():
        logits = small(in_channels=channels, out_channels=labels)(image(channels, 8, 16, 8))
    assert logits.shape == (1, labels, 8, 16, 8) and logits.isfinite().all()


@pytest.mark.parametrize("shape", [(16, 8, 8), (24, 16, 8)])
def test_other_depths_than_the_trained_one_are_taken(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert small()(image(4, *shape)).shape == (1, 3, *shape)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 12}, "multiple of 8; got 12"),
        ({"dim": 10, "heads": 4}, "multiples of heads; got 10"),
        ({"dim": 8, "heads": 8, "expansion": 1.4}, "multiples of heads; got 8, 11 and 8"),
        ({"dbm": "deform"}, "Did you mean 'deformable'"),
        ({"dbm_ratio": 3}, "multiple of dbm_ratio; got 16 and 3"),
        ({"grid_kji": (16, 16, 20)}, "grid_kji must be multiples of 8"),
        ({"out_channels": 1}, "labels at least 2"),
        ({"dropout": 1.0}, "dropout lies"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        TransBTSV2Config(**values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
