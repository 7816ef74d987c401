"""One way to quantize any network: `quantize_` swaps its layers, and the rest of the network does not notice.

A quantized layer is a `Conv2d`, `Conv3d` or `Linear` with the same parameters under the same names, and two quantizers
beside them: `weights`, and `inputs`, which is an identity where activations keep their bits. Transposed convolutions,
norms and biases stay as they are.
"""

import copy
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.quantization.config import QuantizationConfig, check_bits
from leanseg.quantization.dsq import Alpha, DSQInputs, DSQWeights
from leanseg.quantization.inq import INQWeights
from leanseg.quantization.packing import QuantizedTensor
from leanseg.quantization.uniform import UniformInputs, UniformWeights

WeightQuantizer = UniformWeights | DSQWeights | INQWeights
InputQuantizer = UniformInputs | DSQInputs
Network = TypeVar("Network", bound=nn.Module)


class QuantizedConv2d(nn.Conv2d):
    """A 2-D convolution of quantized weights and inputs."""

    def __init__(self, layer: nn.Conv2d, weights: WeightQuantizer | nn.Identity, inputs: InputQuantizer | nn.Identity):
        super().__init__(**_conv_arguments(layer))
        self.weight, self.bias = layer.weight, layer.bias
        self.weights, self.inputs = weights, inputs

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch out h w"]:
        result: Tensor = self._conv_forward(self.inputs(x), self.weights(self.weight), self.bias)
        return result


class QuantizedConv3d(nn.Conv3d):
    """A 3-D convolution of quantized weights and inputs."""

    def __init__(self, layer: nn.Conv3d, weights: WeightQuantizer | nn.Identity, inputs: InputQuantizer | nn.Identity):
        super().__init__(**_conv_arguments(layer))
        self.weight, self.bias = layer.weight, layer.bias
        self.weights, self.inputs = weights, inputs

    def forward(self, x: Float[Tensor, "batch channel depth height width"]) -> Float[Tensor, "batch out d h w"]:
        result: Tensor = self._conv_forward(self.inputs(x), self.weights(self.weight), self.bias)
        return result


class QuantizedLinear(nn.Linear):
    """A linear layer of quantized weights and inputs."""

    def __init__(self, layer: nn.Linear, weights: WeightQuantizer | nn.Identity, inputs: InputQuantizer | nn.Identity):
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.weights, self.inputs = weights, inputs

    def forward(self, x: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch out"]:
        return nn.functional.linear(self.inputs(x), self.weights(self.weight), self.bias)


QuantizedLayer = QuantizedConv2d | QuantizedConv3d | QuantizedLinear
_KINDS: dict[type[nn.Module], type[QuantizedConv2d] | type[QuantizedConv3d] | type[QuantizedLinear]] = {
    nn.Conv2d: QuantizedConv2d,
    nn.Conv3d: QuantizedConv3d,
    nn.Linear: QuantizedLinear,
}
"""By exact type: what derives from these may use its weights in another way."""
_PLAIN = {quantized: plain for plain, quantized in _KINDS.items()}


def _conv_arguments(layer: nn.Conv2d | nn.Conv3d) -> dict[str, Any]:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    return {name: getattr(layer, name) for name in names} | {"bias": layer.bias is not None, "device": "meta"}


# ── quantize ────────────────────────────────────────────────────────────────────────────────────────────────────────


def quantize_(network: Network, config: QuantizationConfig | None) -> Network:
    """Swap the layers of a network for quantized ones, in place, and return it; None leaves it as it is.

    Parameters keep their names and identity; the ranges of weights are read from their present values, those of
    activations from the first batches in training mode.

    Raises:
        LeanSegError: no layer to quantize, weights that are all equal or not finite, or quantized already.
        UnknownNameError: `skip` names a layer that is not there.
    """
    if config is None:
        return network
    if any(True for _ in quantized_layers(network)):
        raise LeanSegError(f"{type(network).__name__} is quantized already. Quantize it once, from its float weights.")
    found = {name: layer for name, layer in network.named_modules() if type(layer) in _KINDS}
    chosen = _without_skipped(found, config.skip)
    if not chosen:
        raise LeanSegError(
            f"{type(network).__name__} has no layer to quantize: {len(found)} are Conv2d, Conv3d or Linear, and skip "
            f"leaves out {', '.join(config.skip) or 'none'}. Shorten skip, or choose another network."
        )
    for name, layer in chosen.items():
        _check_weights(name, layer.weight)  # type: ignore[arg-type]
    swapped = {}
    for layer in chosen.values():
        swapped[id(layer)] = _KINDS[type(layer)](layer, _weights(layer, config), _inputs(config))  # type: ignore[arg-type]
    _swap_(network, swapped)
    return network


def quantized_layers(network: nn.Module) -> Iterator[tuple[str, QuantizedLayer]]:
    """Name and layer of all that `quantize_` swapped in, in the order of definition."""
    for name, layer in network.named_modules():
        if isinstance(layer, QuantizedConv2d | QuantizedConv3d | QuantizedLinear):
            yield name, layer


def quantizer_parameters(network: nn.Module) -> list[nn.Parameter]:
    """What quantizers learn (l, u, a): without weight decay, and at a tenth of the learning rate."""
    kinds = (DSQWeights, DSQInputs, Alpha)
    return [p for module in network.modules() if isinstance(module, kinds) for p in module.parameters(recurse=False)]


def set_bits_(network: nn.Module, bits: int, activation_bits: int | None = None) -> None:
    """Go on with other bits: 8, then 4, then 2 starts low bits well. Ranges and weights stay as they were learned.

    Raises:
        LeanSegError: no layer is quantized, or by INQ, whose code book is fixed.
        ValueError: bits that the method does not have.
    """
    layers = [layer for _, layer in quantized_layers(network)]
    if not layers or any(not isinstance(layer.weights, UniformWeights | DSQWeights) for layer in layers):
        raise LeanSegError("Other bits need a network quantized by dsq or uniform. Quantize it first.")
    for layer in layers:
        fewest = 2 if isinstance(layer.weights, UniformWeights) else 1
        layer.weights.bits = check_bits("bits", bits, fewest)
        if activation_bits is not None and not isinstance(layer.inputs, nn.Identity):
            layer.inputs.bits = check_bits("activation_bits", activation_bits)


def go_on_(
    network: Network, config: QuantizationConfig | None, state: Mapping[str, Tensor], earlier: QuantizationConfig
) -> Network:
    """Quantize a network and give it the state of one that was trained with `earlier`, at other bits perhaps.

    Raises:
        LeanSegError: `config` is none that can go on from `earlier`.
    """
    if config is None or not config.continues(earlier):
        raise LeanSegError(
            f"Weights of {earlier.method} at {earlier.bits} bits are no start for another quantization. Start from "
            "float weights, or keep method, granularity and skip (not for inq)."
        )
    quantize_(network, config).load_state_dict(state)
    return network


def fix_portion_(network: nn.Module, portion: float, generator: torch.Generator | None = None) -> None:
    """One step of INQ in every layer that it quantizes; `generator` chooses at random (`inq.partition`)."""
    for _, layer in quantized_layers(network):
        if isinstance(layer.weights, INQWeights):
            layer.weights.fix_(layer.weight, portion, generator)


# ── deploy ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def harden_(network: Network) -> Network:
    """Replace each weight by what it is rounded to, and the layers by plain ones where inputs keep their bits.

    The network computes the same in eval mode, can be folded and exported, and does not learn to be quantized.
    """
    swapped: dict[int, nn.Module] = {}
    for _, layer in quantized_layers(network):
        if isinstance(layer.weights, WeightQuantizer):
            values = torch.from_numpy(layer.weights.codes(layer.weight).values())
            with torch.no_grad():
                layer.weight.copy_(values)
        if isinstance(layer.inputs, nn.Identity):
            swapped[id(layer)] = _plain(layer)
        else:
            layer.weights = nn.Identity()
    _swap_(network, swapped)
    return network


def packed_state(network: nn.Module) -> dict[str, QuantizedTensor | NDArray[Any]]:
    """All that the hardened network needs, weights as codes, for `packing.write_packed`; the network is left alone."""
    hard = harden_(copy.deepcopy(network)).state_dict()
    state: dict[str, QuantizedTensor | NDArray[Any]] = {
        name: value.detach().cpu().numpy() for name, value in hard.items()
    }
    for name, layer in quantized_layers(network):
        if isinstance(layer.weights, WeightQuantizer):
            state[f"{name}.weight"] = layer.weights.codes(layer.weight)
    return state


def load_packed_(
    network: Network, config: QuantizationConfig, tensors: Mapping[str, QuantizedTensor | NDArray[Any]]
) -> Network:
    """A new network of the same architecture as the hardened one whose `packed_state` was read, in place.

    Raises:
        LeanSegError: tensors that are missing or do not fit.
    """
    harden_(quantize_(network, config))
    state = {
        name: torch.from_numpy(tensor.values() if isinstance(tensor, QuantizedTensor) else tensor)
        for name, tensor in tensors.items()
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise LeanSegError(f"The packed weights are of another network or quantization: {reason}.") from error
    return network


# ── how ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _without_skipped(layers: dict[str, nn.Module], skip: tuple[str, ...]) -> dict[str, nn.Module]:
    names = list(layers)
    skipped: set[str] = set()
    for pattern in skip:
        ends = {"first": names[:1], "last": names[-1:]}
        matching = ends.get(pattern, [name for name in names if fnmatchcase(name, pattern)])
        if not matching and pattern not in ends:
            raise UnknownNameError("layer to skip", pattern, names)
        skipped.update(matching)
    return {name: layer for name, layer in layers.items() if name not in skipped}


def _check_weights(name: str, weight: Tensor) -> None:
    if not torch.isfinite(weight).all():
        raise LeanSegError(f"The weights of {name} are not all finite numbers. Train again with a lower learning rate.")
    low, high = weight.detach().aminmax()
    if high - low <= 1e-6 * max(abs(low), abs(high)):  # but for rounding errors
        raise LeanSegError(
            f"The weights of {name} are all {float(low):.4g}, which leaves no range to quantize. Train the network "
            f"first, or add {name} to skip."
        )


def _weights(layer: nn.Module, config: QuantizationConfig) -> WeightQuantizer:
    weight, per_channel = layer.weight, config.granularity == "channel"
    assert isinstance(weight, Tensor)
    if config.method == "dsq":
        return DSQWeights(weight, config.bits, per_channel, config.clip_sigmas, config.alpha, config.symmetric)
    if config.method == "inq":
        return INQWeights(weight, config.bits, per_channel)
    return UniformWeights(config.bits, per_channel, config.clip_sigmas)


def _inputs(config: QuantizationConfig) -> InputQuantizer | nn.Identity:
    if config.activation_bits is None:
        return nn.Identity()
    if config.method == "dsq":
        return DSQInputs(config.activation_bits, config.alpha)
    return UniformInputs(config.activation_bits)


def _plain(layer: QuantizedLayer) -> nn.Module:
    """The layer without its quantizers, with the same parameters."""
    if isinstance(layer, QuantizedLinear):
        plain: nn.Module = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    else:
        plain = _PLAIN[type(layer)](**_conv_arguments(layer))
    plain.weight = layer.weight
    plain.bias = layer.bias  # type: ignore[assignment]
    return plain.train(layer.training)


def _swap_(network: nn.Module, new: Mapping[int, nn.Module]) -> None:
    """Put new modules in the place of those with these ids, wherever they are used."""
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):  # named_children leaves out what is used twice
            if id(child) in new:
                setattr(module, name, new[id(child)])
