"""Decoders of Med-Tuning for slices: Swin-UNet's for a pyramid, UPerNet's for four maps of one size."""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.networks.blocks.maps import resized


class PatchExpanding(nn.Module):
    """Linear, then `scale` x `scale` pixels out of each: (n, h, w, c) -> (n, scale h, scale w, out)."""

    def __init__(self, channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(channels, scale * scale * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Float[Tensor, "slice h w channel"]) -> Float[Tensor, "slice height width out"]:
        n, h, w, _ = x.shape
        y = self.expand(x).view(n, h, w, self.scale, self.scale, -1).transpose(2, 3)
        result: Tensor = self.norm(y.reshape(n, h * self.scale, w * self.scale, -1))
        return result


class SwinUNetDecoder(nn.Module):
    """Expand, concatenate with the skip connection, halve the channels, two Swin blocks; at last 4 x 4 pixels a token.

    arXiv 2105.05537; the blocks are those of `transformers`.
    """

    def __init__(self, swin_config: Any, out_channels: int, patch: int, depth: int = 2) -> None:
        from transformers.models.swin.modeling_swin import SwinLayer

        super().__init__()
        levels = len(swin_config.depths)
        widths = [swin_config.embed_dim * 2**n for n in range(levels)]
        fine_to_coarse = list(zip(pairwise(widths), swin_config.num_heads, strict=False))
        self.expands, self.merges, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for (fine, coarse), heads in reversed(fine_to_coarse):
            self.expands.append(PatchExpanding(coarse, fine, 2))
            self.merges.append(nn.Linear(2 * fine, fine))
            shifts = [0 if n % 2 == 0 else swin_config.window_size // 2 for n in range(depth)]
            self.blocks.append(
                nn.ModuleList(SwinLayer(swin_config, fine, (1, 1), heads, shift_size=shift) for shift in shifts)
            )
        self.norm = nn.LayerNorm(widths[0])
        self.last = PatchExpanding(widths[0], widths[0], patch)
        self.classify = nn.Conv2d(widths[0], out_channels, 1, bias=False)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "slice label height width"]:
        """`features` (slice, h, w, channel), finest first."""
        x = features[-1]
        for expand, merge, blocks, skip in zip(self.expands, self.merges, self.blocks, features[-2::-1], strict=True):
            x = merge(torch.cat([expand(x), skip], dim=3))
            n, h, w, _ = x.shape
            tokens = x.flatten(1, 2)
            for block in blocks:  # type: ignore[attr-defined]
                tokens, _ = block(tokens, (h, w))
            x = tokens.view(n, h, w, -1)
        pixels = self.last(self.norm(x)).permute(0, 3, 1, 2)
        logits: Tensor = self.classify(pixels)
        return logits


def conv_bn_gelu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.GELU(),
    )


class UPerNetDecoder(nn.Module):
    """Each map to its own scale, pooled context for the coarsest, top-down sums, all scales concatenated.

    arXiv 1807.10221, with 256 channels and without its auxiliary head.
    """

    POOLS = (1, 2, 4)
    SCALES = (4.0, 2.0, 1.0, 0.5)

    def __init__(self, channels: int, out_channels: int, width: int = 256) -> None:
        super().__init__()
        self.narrow = nn.ModuleList(conv_bn_gelu(channels, width, 1) for _ in self.SCALES)
        self.pooled = nn.ModuleList(conv_bn_gelu(width, width, 1) for _ in self.POOLS)
        self.context = conv_bn_gelu((len(self.POOLS) + 1) * width, width, 3)
        self.smooth = nn.ModuleList(conv_bn_gelu(width, width, 3) for _ in self.SCALES[:-1])
        self.fuse = conv_bn_gelu(len(self.SCALES) * width, width, 3)
        self.classify = nn.Conv2d(width, out_channels, 1)

    def forward(self, features: list[Tensor], size_ji: tuple[int, int]) -> Float[Tensor, "slice label height width"]:
        """`features`: four maps (slice, h, w, channel) of one size, shallowest first."""
        maps = []
        for narrow, x, scale in zip(self.narrow, features, self.SCALES, strict=True):
            y = narrow(x.permute(0, 3, 1, 2))
            maps.append(resized(y, (int(scale * y.shape[2]), int(scale * y.shape[3]))))
        coarsest = maps.pop()
        grid = (coarsest.shape[2], coarsest.shape[3])
        seen = [coarsest]
        for pool, conv in zip(self.POOLS, self.pooled, strict=True):
            seen.append(resized(conv(F.adaptive_avg_pool2d(coarsest, pool)), grid))
        x = self.context(torch.cat(seen, dim=1))
        levels = [x]
        for y, smooth in zip(reversed(maps), reversed(list(self.smooth)), strict=True):
            x = y + resized(x, (y.shape[2], y.shape[3]))
            levels.append(smooth(x))
        finest = (x.shape[2], x.shape[3])
        fused = self.fuse(torch.cat([resized(y, finest) for y in levels], dim=1))
        logits: Tensor = resized(self.classify(fused), size_ji)
        return logits
