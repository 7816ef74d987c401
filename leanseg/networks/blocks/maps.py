"""What networks of several papers do with 2-D maps: convolve and normalize them, and bring them to another size."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the grid is kept but for the stride. `bias` has no effect after batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def resized(
    x: Float[Tensor, "batch channel h w"], size_ji: Sequence[int], align_corners: bool = False
) -> Float[Tensor, "batch channel height width"]:
    """Bilinearly; a map that has the size is given back as it is."""
    if tuple(x.shape[-2:]) == tuple(size_ji):
        return x
    return F.interpolate(x, tuple(size_ji), mode="bilinear", align_corners=align_corners)
