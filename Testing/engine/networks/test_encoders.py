from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from leanseg.errors import UnknownNameError
from leanseg.networks import build_network
from leanseg.networks.encoders import ENCODERS, encode, encoder_keys, encoder_parameters, encoder_shape

TEXT = {"widths": [4, 8, 8], "stages": [1], "feeds": "skips", "text": False, "in_channels": 1}
SMALL: Mapping[str, tuple[Mapping[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "attention_unet": ({"widths": [4, 8, 16]}, (1, 16, 24), (4, 8, 16)),
    "text_bcs": (TEXT, (1, 16, 24), (4, 8, 8)),
    "residual_unet": ({"width": 4}, (4, 16, 24), (4, 8, 16, 32)),
    "med_danet_v2": ({"width": 4, "crop_sizes": [8]}, (4, 16, 24), (4, 8, 16, 32)),
    "segresnet": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, (4, 8, 16, 8), (8, 16)),
    "trans_bts_v2": ({"width": 8, "dim": 16, "heads": 2, "mlp_dim": 16}, (4, 16, 8, 8), (8, 16, 32, 64)),
    "cga_unet": ({"width": 8, "attention_width": 4}, (4, 16, 8, 8), (8, 16, 32, 64)),
    "trans_bts": ({"width": 8, "dim": 16, "layers": 1, "heads": 2, "mlp_dim": 16}, (4, 16, 8, 8), (8, 16, 32, 16)),
}
EACH = pytest.mark.parametrize("name", ENCODERS)


def network_of(name: str) -> tuple[nn.Module, torch.Tensor]:
    config, shape, _ = SMALL[name]
    torch.manual_seed(0)
    return build_network(name, config).eval(), torch.rand(2, *shape)


@EACH
def test_levels_are_halved_one_after_the_other(name: str) -> None:
    network, image = network_of(name)
    channels = SMALL[name][2]
    with torch.no_grad():
        levels = encode(network, image)
    grid = image.shape[2:]
    assert [level.shape for level in levels] == [
        (2, width, *(n // 2**depth for n in grid)) for depth, width in enumerate(channels)
    ]
    shape = encoder_shape(network, image.shape[1], tuple(grid))
    assert shape.channels == channels and shape.axes == len(grid) and not network.training


@EACH
def test_the_encoder_is_what_its_features_depend_on_and_nothing_else(name: str) -> None:
    """A gradient reaches every one of its parameters, and no other; with the buffers they are its tensors."""
    network, image = network_of(name)
    sum(level.square().sum() for level in encode(network, image)).backward()  # type: ignore[union-attr]
    reached = {key for key, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    keys = encoder_keys(network)
    assert reached == {key for key, _ in network.named_parameters()} & set(keys)
    assert len(encoder_parameters(network)) == len(reached) and len(keys) == len(set(keys))


def test_features_are_those_that_the_network_itself_uses() -> None:
    network, image = network_of("attention_unet")
    with torch.no_grad():
        torch.testing.assert_close(encode(network, image)[-1], network.features(image).bottleneck)  # type: ignore[operator]
    network, image = network_of("residual_unet")
    seen: list[torch.Tensor] = []
    network.body.ups[0].register_forward_hook(lambda module, args, output: seen.extend(args))  # type: ignore[index, union-attr]
    with torch.no_grad():
        network(image)
        levels = encode(network, image)
    assert torch.equal(seen[0], levels[3]) and torch.equal(seen[1], levels[2])


def test_an_encoder_that_is_not_known_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no encoder of network named 'Linear'"):
        encode(nn.Linear(1, 1), torch.rand(1, 1, 8, 8))


def test_a_grid_that_does_not_fit_is_refused() -> None:
    network, _ = network_of("attention_unet")
    with pytest.raises(ValueError, match=r"needs height and width in multiples of 4; got \(16, 18\)"):
        encode(network, torch.rand(1, 1, 16, 18))
