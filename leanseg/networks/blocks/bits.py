"""Stage-wise bit-widths: weight fake-quantization with a straight-through gradient, and the selector of the bits.

Paper: Shen et al., Med-DANet V2, WACV 2024, arXiv 2310.18656. Its code is under Apache-2.0; nothing was taken from it,
this file was written from published facts.

Departures and inferences
  * The Sobel filters repeat the border pixels (inferred); 1/8 normalizes them.
  * With more than two candidates the selector starts with the biases 0, 1, 2, ... (inferred), so that the most bits
    win at the start, as they do with two.
  * 32 bits are the weights themselves, not weights rounded to 32 bits.

The quantization is simulated: it says how many bits a stage needs, and saves no time by itself.

Symbols: b bits, m max |w| of a layer, q = 2^(b-1) - 1, z = (g, s) complexity of a slice: g mean |Sobel| of the input,
s spread of the features.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.quantization.uniform import round_through

FULL_BITS = 32


def fake_quantize(
    weight: Float[Tensor, "out in kj ki"], bits: Float[Tensor, " batch"]
) -> Float[Tensor, "batch out in kj ki"]:
    """round(w q / m) m / q for each entry of `bits`; the gradient with respect to w is the identity."""
    b = bits.view(-1, 1, 1, 1, 1)
    m = weight.detach().abs().max() + 1e-8
    q = 2 ** (b - 1) - 1
    step: Tensor = m / q
    return torch.where(b < FULL_BITS, round_through(weight.expand(len(bits), *weight.shape), step), weight)


def quantized_conv(
    conv: nn.Conv2d, x: Float[Tensor, "batch channel height width"], bits: Float[Tensor, " batch"] | None
) -> Float[Tensor, "batch out h w"]:
    """The convolution with weights of so many bits, each sample its own; None: the convolution as it is.

    While `bits` carries a gradient each sample has its own kernel, one group each, so that the gradient reaches the
    bits of that sample. Otherwise the samples with the same bits share one convolution.
    """
    if bits is None:
        result: Tensor = conv(x)
        return result
    stride, padding = conv.stride, conv.padding
    assert isinstance(padding, tuple) and conv.bias is None, "the convolutions of the encoder"
    if torch.is_grad_enabled() and bits.requires_grad:
        weight = fake_quantize(conv.weight, bits).flatten(0, 1)
        grouped = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weight, None, stride, padding, groups=len(x))
        return grouped.view(len(x), -1, *grouped.shape[2:])
    kinds = bits.detach().unique()
    weights = fake_quantize(conv.weight, kinds)
    if len(kinds) == 1:
        return F.conv2d(x, weights[0], None, stride, padding)
    parts = [F.conv2d(x[bits == b], w, None, stride, padding) for b, w in zip(kinds, weights, strict=True)]
    joined = torch.cat(parts)
    order = torch.cat([(bits == b).nonzero().flatten() for b in kinds])
    return joined[order.argsort()]


def sobel_density(image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch density"]:
    """g: mean over the pixels of |Sobel along i| and |Sobel along j| of each channel, 2 x channel numbers."""
    along_i = image.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([along_i, along_i.T])[:, None]
    channels = image.flatten(0, 1)[:, None]
    edges = F.conv2d(F.pad(channels, (1, 1, 1, 1), mode="replicate"), kernels)
    return edges.abs().mean(dim=(2, 3)).view(image.shape[0], -1)  # not len(): exported graphs take any batch


class BitSelector(nn.Module):
    """Chooses the bits of one encoder stage for each slice: argmax of a linear function of z.

    The value is one of the candidates; the gradient is that of the expected bits under the softmax.
    """

    candidates: Tensor

    def __init__(self, image_channels: int, feature_channels: int, bits: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("candidates", torch.tensor([float(b) for b in bits]), persistent=False)
        self.linear = nn.Linear(2 * image_channels + feature_channels, len(bits))
        nn.init.ones_(self.linear.weight)
        with torch.no_grad():
            self.linear.bias.copy_(torch.arange(float(len(bits))))

    def forward(
        self, density: Float[Tensor, "batch density"], features: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        spread = features.detach().float().std(dim=(2, 3), correction=0)
        logits = self.linear(torch.cat([density, spread], dim=1)).float()
        soft = logits.softmax(dim=1) @ self.candidates
        hard = self.candidates[logits.argmax(dim=1)]
        if not torch.is_grad_enabled():
            return hard
        straight_through: Tensor = hard + (soft - soft.detach())
        return straight_through


class BitChooser:
    """Asks the selector of each stage in turn, for one image, and keeps what it said.

    With `quantize=False` the weights stay as they are, and what was said is kept for the accounting alone.
    """

    def __init__(
        self, selectors: nn.ModuleList, image: Float[Tensor, "batch channel height width"], quantize: bool = True
    ) -> None:
        self._selectors = selectors
        self._quantize = quantize
        self._density = sobel_density(image.detach().float())
        self.chosen: list[Tensor] = []

    def __call__(
        self, stage: int, features: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"] | None:
        bits: Tensor = self._selectors[stage](self._density, features)
        self.chosen.append(bits)
        return bits if self._quantize else None
