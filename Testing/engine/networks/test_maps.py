import pytest
import torch
from torch import nn

from leanseg.networks.blocks.maps import conv_bn_relu, resized


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_map_that_has_the_size_is_given_back_and_another_is_resized(align_corners: bool) -> None:
    x = torch.rand(1, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    assert resized(x, (4, 6), align_corners) is x
    expected = nn.functional.interpolate(x, (7, 5), mode="bilinear", align_corners=align_corners)
    assert torch.equal(resized(x, (7, 5), align_corners), expected)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_a_convolution_keeps_the_grid_but_for_its_stride(kernel: int, stride: int) -> None:
    block = conv_bn_relu(2, 3, kernel, stride)
    assert block(torch.rand(2, 2, 8, 6)).shape == (2, 3, 8 // stride, 6 // stride)
    assert "0.bias" not in block.state_dict() and "0.bias" in conv_bn_relu(2, 3, bias=True).state_dict()
