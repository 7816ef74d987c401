"""What a recipe says about pre-training with FreMAE."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FreMAEConfig:
    """Section [fremae] of a recipe; the defaults are the paper's."""

    mask_ratio: float = 0.25
    """Of the pixels of the foreground of a batch that are replaced."""
    half_width: int = 10
    """Of the pass band, in frequencies, at both sizes."""
    high_weight: float = 1.0
    """Of the details, which the low levels predict."""
    low_weight: float = 1.3
    low_channels: int = 32
    """Of the coarse features before their frequency mapping."""
    frequency_bias: float = 1.0
    """Where B of the frequency mapping starts. 1 (paper) adds an impulse to the first pixel; 0 does not."""
    gain: float = 0.1
    """Half-width of the factor around 1 for each image, sequence and column of what the encoder sees."""
    offset: float = 0.1
    """Half-width of the summand, likewise."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio lies between 0 and 1; got {self.mask_ratio}.")
        if min(self.half_width, self.low_channels) < 1:
            raise ValueError(f"half_width and low_channels must be positive; got {self}.")
        if min(self.high_weight, self.low_weight, self.gain, self.offset) < 0:
            raise ValueError(f"weights, gain and offset must be 0 or more; got {self}.")
