"""Multiply-accumulates of a network, as torch counts those of convolutions and products."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def counted_gmacs(network: nn.Module, *inputs: Tensor) -> float:
    """Of one call with these inputs, in 10^9; on the device `meta` nothing is computed."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    return float(counter.get_total_flops()) / 2e9
