"""One way to quantize any network: what is swapped, what stays, what is refused."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.networks import NETWORKS, build_network
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.quantization.config import METHODS, QuantizationConfig
from leanseg.quantization.dsq import Alpha
from leanseg.quantization.layers import (
    QuantizedConv2d,
    QuantizedConv3d,
    QuantizedLinear,
    fix_portion_,
    harden_,
    load_packed_,
    packed_state,
    quantize_,
    quantized_layers,
    quantizer_parameters,
    set_bits_,
)
from leanseg.quantization.packing import QuantizedTensor, read_packed, write_packed
from leanseg.schema import parse
from Testing.engine.quantization.lesions import fit, lesions, new_network, trained_network

EVERY_WAY = [
    QuantizationConfig(method, bits, activation_bits, granularity)
    for method in METHODS
    for bits, activation_bits in ((5, None), (2, None), (4, 4))
    for granularity in ("tensor", "channel")
    if activation_bits is None or method != "inq"
]


def small(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


@pytest.fixture
def images() -> Tensor:
    return lesions(4, seed=3)[0]


# ── swapping ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", METHODS)
def test_layers_are_swapped_and_the_rest_stays(method: str) -> None:
    network = new_network()
    parameters, names = (
        dict(network.named_parameters()),
        [n for n, m in network.named_modules() if type(m) is nn.Conv2d],
    )
    assert quantize_(network, QuantizationConfig(method)) is network
    assert type(network) is AttentionUNet
    assert [name for name, _ in quantized_layers(network)] == names[1:-1]
    after = dict(network.named_parameters())
    assert all(after[name] is parameter for name, parameter in parameters.items())


def test_convolutions_and_linear_layers_keep_their_options() -> None:
    layers = [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, padding_mode="reflect"),
        nn.Conv3d(2, 3, (1, 3, 3), padding=(0, 1, 1), bias=False),
        nn.Linear(5, 7),
    ]
    inputs = [torch.randn(2, 4, 9, 9), torch.randn(2, 2, 4, 6, 6), torch.randn(2, 3, 5)]
    for layer, x, kind in zip(layers, inputs, (QuantizedConv2d, QuantizedConv3d, QuantizedLinear), strict=True):
        network = small(layer)
        expected = network(x)
        quantize_(network, QuantizationConfig("uniform", 8, skip=()))
        assert type(network[0]) is kind
        assert (network(x) - expected).abs().max() < 0.05 and not torch.equal(network(x), expected)
        network[0].weights = nn.Identity()
        torch.testing.assert_close(network(x), expected)


def test_a_layer_that_is_used_twice_is_quantized_once() -> None:
    shared = nn.Linear(4, 4)
    network = quantize_(small(shared, nn.ReLU(), shared), QuantizationConfig(skip=()))
    assert network[0] is network[2] and len(list(quantized_layers(network))) == 1


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        ((), ["0", "1", "2", "3"]),
        (("first", "last"), ["1", "2"]),
        (("1", "last"), ["0", "2"]),
        (("[12]",), ["0", "3"]),
    ],
)
def test_skip_names_what_keeps_its_bits(skip: tuple[str, ...], left: list[str]) -> None:
    network = quantize_(small(*(nn.Linear(4, 4) for _ in range(4))), QuantizationConfig(skip=skip))
    assert [name for name, _ in quantized_layers(network)] == left


SMALL_CONFIGS: dict[str, dict[str, Any]] = {
    "attention_unet": {"widths": [4, 8]},
    "residual_unet": {"width": 4},
    "segresnet": {"init_filters": 8},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name in SMALL_CONFIGS if name in NETWORKS])
def test_networks_of_leanseg_can_be_quantized(name: str, method: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, SMALL_CONFIGS[name])
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
    x = torch.rand(2, first.in_channels, *(16,) * (first.weight.ndim - 2))
    quantize_(network, QuantizationConfig(method))
    assert any(True for _ in quantized_layers(network))
    network(x).square().mean().backward()
    for layer_name, layer in quantized_layers(network):
        assert layer.weight.grad is not None and torch.isfinite(layer.weight.grad).all(), layer_name
    assert all(torch.isfinite(p.grad).all() for p in quantizer_parameters(network) if p.grad is not None)


def test_what_quantizers_learn_is_told_apart() -> None:
    network = new_network()
    plain = sum(1 for _ in network.parameters())
    quantize_(network, QuantizationConfig("dsq", activation_bits=4))
    layers = len(list(quantized_layers(network)))
    learned = quantizer_parameters(network)
    assert len(learned) == 6 * layers == len({id(p) for p in learned})  # l, u, a of weights and of inputs
    assert sum(1 for _ in network.parameters()) == plain + 6 * layers
    assert sum(isinstance(m, Alpha) for m in network.modules()) == 2 * layers


# ── deploying ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("config", EVERY_WAY, ids=str)
def test_a_packed_file_computes_what_the_trained_network_does(
    config: QuantizationConfig, images: Tensor, tmp_path: Path
) -> None:
    network = quantize_(trained_network(), config)
    fix_portion_(network, 0.5)
    fit(network, 0, 1, 1e-3)
    fix_portion_(network, 1.0)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        expected = network(images)
        hard = harden_(copy.deepcopy(network))(images)
        write_packed(packed_state(network), tmp_path / "w.lsq")
        reloaded = load_packed_(new_network(seed=9), config, read_packed(tmp_path / "w.lsq", config.bits)).eval()
        torch.testing.assert_close(hard, expected, rtol=0, atol=0)
        assert torch.equal(reloaded(images), expected)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items()), "left as it was"


@pytest.mark.parametrize("method", METHODS)
def test_a_hardened_network_without_quantized_inputs_is_a_plain_one(method: str) -> None:
    plain = new_network()
    network = harden_(quantize_(new_network(), QuantizationConfig(method, 3, granularity="channel")))
    assert [type(m) for m in network.modules()] == [type(m) for m in plain.modules()]
    assert network.state_dict().keys() == plain.state_dict().keys()
    layer = network.encoder[1][0][0]  # type: ignore[index]
    assert isinstance(layer, nn.Conv2d) and all(len(channel.unique()) <= 8 for channel in layer.weight)


@pytest.mark.parametrize(("bits", "largest_mb"), [(4, 1.2), (2, 0.7)])
def test_the_file_of_the_student_is_small(bits: int, largest_mb: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = build_network("attention_unet", {})
    write_packed(packed_state(quantize_(student, QuantizationConfig(bits=bits, granularity="channel"))), tmp_path / "w")
    assert (tmp_path / "w").stat().st_size / 1e6 <= largest_mb


def test_packed_weights_of_another_network_are_refused() -> None:
    state = packed_state(quantize_(new_network(), QuantizationConfig()))
    with pytest.raises(LeanSegError, match="of another network or quantization") as caught:
        load_packed_(build_network("attention_unet", {"widths": [4, 8, 16]}), QuantizationConfig(), state)
    assert "\n" not in str(caught.value)


def test_packed_codes_are_those_of_the_layers() -> None:
    network = quantize_(new_network(), QuantizationConfig("uniform", 3))
    state = packed_state(network)
    for name, layer in quantized_layers(network):
        packed = state[f"{name}.weight"]
        assert isinstance(packed, QuantizedTensor) and packed.bits == 3
        assert np.array_equal(packed.values(), layer.weights(layer.weight).detach().numpy())
    assert sum(isinstance(tensor, QuantizedTensor) for tensor in state.values()) == len(list(quantized_layers(network)))


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bits", [0, 9, 3.5, -1, True, "4", None])
@pytest.mark.parametrize("method", METHODS)
def test_bits_that_do_not_exist_are_refused(method: str, bits: Any) -> None:
    with pytest.raises(ValueError, match=rf"^bits of {method} must be a whole number from . to 8; got .*\. Choose"):
        QuantizationConfig(method, bits)


def test_one_bit_is_for_dsq_alone() -> None:
    assert QuantizationConfig("dsq", 1).bits == 1
    for method in ("uniform", "inq"):
        with pytest.raises(ValueError, match=rf"^bits of {method} must be a whole number from 2 to 8; got 1\."):
            QuantizationConfig(method, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bits": 3.5}, r"quantization\.bits must be int; got 3\.5"),
        ({"bits": 9}, r"quantization: bits of dsq must be a whole number from 1 to 8; got 9\."),
        ({"method": "dqs"}, r"no quantization method named 'dqs'\. Did you mean 'dsq'"),
        ({"granularity": "chanel"}, r"no granularity named 'chanel'\. Did you mean 'channel'"),
        ({"activation_bits": 0}, "activation_bits must be a whole number from 1 to 8; got 0"),
        ({"method": "inq", "activation_bits": 4}, "inq quantizes weights alone. Leave activation_bits out"),
        ({"clip_sigmas": 0}, "clip_sigmas must be positive; got 0"),
        ({"clip_sigmas": float("nan")}, "clip_sigmas must be positive; got nan"),
        ({"alpha": 0.5}, r"alpha lies between 0 and 0\.5"),
        ({"alpha_pull": -1}, "alpha_pull is 0 or more"),
        ({"portions": [0.5, 0.9]}, "portions must rise from above 0 to 1"),
        ({"portions": [0.9, 0.5, 1]}, "portions must rise"),
        ({"portions": []}, "portions must rise"),
        ({"portions": [0, 1]}, "portions must rise"),
        ({"bit": 4}, r"no key in quantization named 'bit'\. Did you mean 'bits'"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(LeanSegError, match=message) as caught:
        parse(QuantizationConfig, values, "quantization")
    assert "\n" not in str(caught.value)


def test_a_section_survives_json() -> None:
    config = QuantizationConfig("inq", 7, portions=(0.2, 1.0), skip=("a.*",))
    assert parse(QuantizationConfig, config.to_json(), "quantization") == config


@pytest.mark.parametrize(
    ("network", "skip"),
    [(small(nn.BatchNorm2d(3)), ()), (small(nn.Linear(2, 2), nn.Linear(2, 2)), ("first", "last"))],
    ids=["no layer", "all left out"],
)
def test_a_network_with_nothing_to_quantize_is_refused(network: nn.Module, skip: tuple[str, ...]) -> None:
    with pytest.raises(LeanSegError, match=r"^Sequential has no layer to quantize: . are .* Shorten skip") as caught:
        quantize_(network, QuantizationConfig(skip=skip))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"^The weights of 1 are all 0\.5, which leaves no range to quantize\. .* or add 1 to skip\.$"),
        (0.0, "^The weights of 1 are all 0, which leaves no range"),
        (float("nan"), r"^The weights of 1 are not all finite numbers\. Train again"),
        (float("inf"), "^The weights of 1 are not all finite numbers"),
    ],
)
def test_weights_without_a_range_are_refused_and_nothing_is_swapped(method: str, value: float, message: str) -> None:
    network = small(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    with torch.no_grad():
        if value == value and abs(value) < 1:
            network[1].weight.fill_(value)
        else:
            network[1].weight[1, 2] = value
    with pytest.raises(LeanSegError, match=message):
        quantize_(network, QuantizationConfig(method, skip=("last",)))
    assert not list(quantized_layers(network))


def test_a_skip_that_names_nothing_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no layer to skip named 'haed'\. Did you mean 'head'\?"):
        quantize_(new_network(), QuantizationConfig(skip=("haed",)))


def test_quantizing_twice_is_refused() -> None:
    network = quantize_(new_network(), QuantizationConfig())
    with pytest.raises(LeanSegError, match="is quantized already"):
        quantize_(network, QuantizationConfig())


@pytest.mark.parametrize("config", [None, QuantizationConfig("inq")])
def test_bits_of_what_has_none_cannot_be_changed(config: QuantizationConfig | None) -> None:
    network = new_network() if config is None else quantize_(new_network(), config)
    with pytest.raises(LeanSegError, match="Other bits need a network quantized by dsq or uniform"):
        set_bits_(network, 4)


def test_bits_are_changed_to_what_the_method_has() -> None:
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 8; got 1"):
        set_bits_(quantize_(new_network(), QuantizationConfig("uniform")), 1)
