"""The light classifier that decides about a slice: decision network and crop position network.

Papers: Wang et al., Med-DANet, ECCV 2022, arXiv 2206.06575; Shen et al., Med-DANet V2, WACV 2024, arXiv 2310.18656;
the units are those of Ma et al., ShuffleNetV2, ECCV 2018, arXiv 1807.11164. The code of Med-DANet V2 is under
Apache-2.0; nothing was taken from it, this file was written from published facts: the width tables, the order of the
layers, the initialization.

Departures and inferences
  * The average before the last layer covers the whole map, whatever its size; the paper's kernel is
    floor(side / 32), which is the same for multiples of 32 and leaves out a border otherwise.
  * Which half of the channels passes unchanged (the even ones) is inferred; it makes no difference to what the
    network can learn.
  * Height and width may differ, and any size is taken.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from leanseg.errors import UnknownNameError

DECISION_WIDTHS: Mapping[str, tuple[int, int, int, int, int]] = MappingProxyType(
    {
        "0.5x": (12, 24, 48, 96, 256),
        "1.0x": (24, 116, 232, 464, 1024),
        "1.5x": (24, 176, 352, 704, 1024),
        "2.0x": (24, 244, 488, 976, 2048),
    }
)
"""Channels of the stem, of the three stages and of the last convolution. The "0.5x" of the papers is narrower than
ShuffleNetV2's own."""
UNITS = (4, 8, 4)
BACKGROUND_LOGITS = (0.0, -1e4)
"""Of the background and of every other label, where nothing is computed: a softmax makes exactly 1 and 0 of them."""


class CostReport(NamedTuple):
    """What some slices cost, everything counted. MACs are what the papers call FLOPs."""

    histogram: tuple[int, ...]
    """Number of slices of each decision; the first is skip."""
    macs: int
    bit_weighted_macs: float
    """Each stage's MACs times bits / 32, as Med-DANet V2 counts; not a measure of time."""
    decision_macs: int
    """Of the decision and crop position networks, which are part of `macs`."""


def background(like: Float[Tensor, "batch channel height width"], labels: int) -> Float[Tensor, "batch label h w"]:
    """Logits of slices for which no network is asked, on the grid of `like`."""
    logits = like.new_full((len(like), labels, *like.shape[-2:]), BACKGROUND_LOGITS[1])
    logits[:, 0] = BACKGROUND_LOGITS[0]
    return logits


def check_decisions(decisions: Int[Tensor, " batch"], choices: int) -> None:
    """Raises ValueError for a decision that does not exist."""
    if len(decisions) and not 0 <= int(decisions.min()) <= int(decisions.max()) < choices:
        raise ValueError(f"A decision lies between 0 (skip) and {choices - 1}; got {decisions.tolist()}.")


def conv_macs(module: nn.Module, pixels: int) -> int:
    """MACs of the convolutions of `module` if each is applied at this many places."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    return pixels * sum(m.weight.numel() for m in module.modules() if isinstance(m, kinds))


def _half(size: int) -> int:
    return (size + 1) // 2


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


DECISION_POOLS = ("mean", "cells")
FEATURE_HALVINGS = 5
"""The features of the decision network have 1 / 32 of the height and width."""


class ShuffleUnit(nn.Module):
    """ShuffleNetV2 unit: with stride 1 half of the channels pass, with stride 2 they take a short way of their own."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        middle = out_channels // 2
        inside, passed = (in_channels, in_channels) if stride == 2 else (in_channels // 2, in_channels // 2)
        self.enter = nn.Sequential(_conv_bn(inside, middle, 1), nn.ReLU(inplace=True))
        self.main = nn.Sequential(
            _conv_bn(middle, middle, 3, stride, groups=middle),
            _conv_bn(middle, out_channels - passed, 1),
            nn.ReLU(inplace=True),
        )
        self.short = nn.Sequential()
        if stride == 2:
            self.short = nn.Sequential(
                _conv_bn(passed, passed, 3, stride, groups=passed), _conv_bn(passed, passed, 1), nn.ReLU(inplace=True)
            )

    def forward(self, x: Float[Tensor, "batch deep height width"]) -> Float[Tensor, "batch channel h w"]:
        short, main = (x, x) if self.stride == 2 else (x[:, 0::2], x[:, 1::2])
        return torch.cat([self.short(short), self.main(self.enter(main))], dim=1)

    def macs(self, height: int, width: int) -> int:
        pixels = height * width
        after = _half(height) * _half(width) if self.stride == 2 else pixels
        return conv_macs(self.enter, pixels) + conv_macs(self.main, after) + conv_macs(self.short, after)


class ShuffleNetV2(nn.Module):
    """Slices to `outputs` numbers each: stem, three stages of shuffle units, average, linear layer without bias."""

    def __init__(self, in_channels: int, outputs: int, width: str = "0.5x") -> None:
        super().__init__()
        if width not in DECISION_WIDTHS:
            raise UnknownNameError("decision width", width, DECISION_WIDTHS)
        stem, *stages, last = DECISION_WIDTHS[width]
        self.stem = nn.Sequential(_conv_bn(in_channels, stem, 3, stride=2), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.units = nn.Sequential()
        channels = stem
        for out_channels, units in zip(stages, UNITS, strict=True):
            for n in range(units):
                self.units.append(ShuffleUnit(channels, out_channels, stride=1 if n else 2))
                channels = out_channels
        self.head = nn.Sequential(_conv_bn(channels, last, 1), nn.ReLU(inplace=True))
        self.linear = nn.Linear(last, outputs, bias=False)
        self._initialize()

    def _initialize(self) -> None:
        """First convolution N(0, 0.01), others N(0, 1 / input channels of the kernel), linear layer N(0, 0.01)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 1 / module.weight.shape[1])
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.bias, 1e-4)
        first = next(module for module in self.modules() if isinstance(module, nn.Conv2d))
        for parameter in (first.weight, self.linear.weight):
            nn.init.normal_(parameter, 0, 0.01)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch output"]:
        features: Tensor = self.head(self.units(self.pool(self.stem(image))))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one slice of this size."""
        height, width = _half(height), _half(width)
        total = conv_macs(self.stem, height * width)
        height, width = _half(height), _half(width)
        for unit in self.units:
            assert isinstance(unit, ShuffleUnit)
            total += unit.macs(height, width)
            if unit.stride == 2:
                height, width = _half(height), _half(width)
        return total + conv_macs(self.head, height * width) + self.linear.weight.numel()


class DecisionNetwork(ShuffleNetV2):
    """Slices to the outputs that decide; 0 is skip.

    Options
      * `pool="mean"`, the paper's: the average over the slice goes through the linear layer.
      * `pool="cells"`, this project's: the linear layer looks at every place of the features, a cell of 32 x 32 pixels.
        With l the outputs there, a cell shows tumor by s = logsumexp(l_1 ... l_n) - l_0, and

            log odds of not skipping = log mean exp s over the cells

        so one cell is enough if it is certain (above the log of the number of cells). What to do with the tumor is
        decided by the average, as before. Cells can be taught where tumor is (training/med_danet.py), which tells more
        than one label a slice when patients are few.
    """

    def __init__(self, in_channels: int, outputs: int, width: str = "0.5x", pool: str = "mean") -> None:
        super().__init__(in_channels, outputs, width)
        if pool not in DECISION_POOLS:
            raise UnknownNameError("decision pool", pool, DECISION_POOLS)
        self.decision_pool = pool

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch output"]:
        return super().forward(image) if self.decision_pool == "mean" else self.by_cells(image)[0]

    def by_cells(
        self, image: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch output"], Float[Tensor, "batch h w"]]:
        """The outputs with `pool="cells"`, and s."""
        features: Tensor = self.head(self.units(self.pool(self.stem(image))))
        outputs: Tensor = self.linear(features.movedim(1, -1)).movedim(-1, 1)
        shows = outputs[:, 1:].logsumexp(dim=1) - outputs[:, 0]
        most = shows.amax(dim=(1, 2), keepdim=True)
        odds = (shows - most).exp().mean(dim=(1, 2)).log() + most.flatten()
        branches = outputs.mean(dim=(2, 3))[:, 1:]
        skip = branches.logsumexp(dim=1) - odds
        return torch.cat([skip[:, None], branches], dim=1), shows

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for one slice of this size."""
        total = super().macs(height, width)
        if self.decision_pool == "mean":
            return total
        for _ in range(FEATURE_HALVINGS):
            height, width = _half(height), _half(width)
        return total + (height * width - 1) * self.linear.weight.numel()
