"""Losses between spectra: the focal frequency loss, and the pass bands that FreMAE looks at (training/fremae.py).

Of the focal frequency loss (Jiang et al., ICCV 2021, arXiv 2012.12821) with the weights of FreMAE's release:

    d = |F_prediction - F_target|,  w = log(1 + d) / max log(1 + d) of each image and channel,  L = mean(w d^2)

w has no gradient. Spectra are orthonormal and centered: index n // 2 of an axis is its mean. Everything is of any
number of spatial axes. Only these axes are shifted, not the batch and the channels as well.
"""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor


def spectrum(image: Float[Tensor, "batch channel *grid"]) -> Complex[Tensor, "batch channel *grid"]:
    """Orthonormal Fourier transform over the grid, its center in the middle."""
    axes = tuple(range(2, image.ndim))
    centered: Tensor = torch.fft.fftshift(torch.fft.fftn(image.float(), dim=axes, norm="ortho"), dim=axes)
    return centered


def low_pass(size: tuple[int, ...], half_width: int) -> Bool[Tensor, "*grid"]:
    """True in the square, or cube, of side 2 `half_width` around the center; what is not in it is the high-pass band.

    On an axis that is shorter than that all frequencies are low.
    """
    mask = torch.ones(size, dtype=torch.bool)
    for axis, n in enumerate(size):
        place = torch.arange(n) - n // 2
        inside = (place >= -half_width) & (place < half_width)
        mask &= inside.view([-1 if other == axis else 1 for other in range(len(size))])
    return mask


def focal_weights(distance: Float[Tensor, "batch channel *grid"]) -> Float[Tensor, "batch channel *grid"]:
    """In [0, 1], largest where the spectra differ most; without gradient."""
    logarithm = torch.log1p(distance.detach())
    largest = logarithm.flatten(2).amax(dim=2).view(*distance.shape[:2], *(1,) * (distance.ndim - 2))
    return (logarithm / largest.clamp(min=torch.finfo(logarithm.dtype).tiny)).clamp(0, 1)


def focal_frequency_loss(
    prediction: Float[Tensor, "batch channel *grid"],
    target: Float[Tensor, "batch channel *grid"],
    band: Bool[Tensor, "*grid"],
) -> Float[Tensor, ""]:
    """Of the frequencies in `band`; the mean is over all, as a band is a filter."""
    difference = (spectrum(prediction) - spectrum(target)) * band.to(prediction.device)
    squared = difference.real.square() + difference.imag.square()
    return (focal_weights(squared.detach().sqrt()) * squared).mean()
