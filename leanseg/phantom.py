"""Built-in cases: a simulated breast ultrasound with speckle, shadow and a lesion of known outline.

No data set may be redistributed with LeanSeg, so the demo, the tests and the Slicer sample data use these.
The image model is the usual one for speckle (fully developed: Rayleigh envelope): random complex scatterers,
weighted by the tissue's echogenicity, blurred by a point-spread function that is wider across the beam than
along it, then envelope, compounding of several looks, attenuation and log compression. Figures on phantoms say
that the way works from end to end; they say nothing about accuracy on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leanseg.volume import Volume, VolumeGeometry

Kind = Literal["benign", "malignant", "normal"]
SPACING_MM = 0.15
_DYNAMIC_RANGE_DB = 42.0
_LOOKS = 4  # images averaged, as spatial compounding does
Field = NDArray[np.float64]


@dataclass(frozen=True)
class Phantom:
    """A simulated image and its truth."""

    name: str
    image: Volume
    """(1, k, j, i), uint8"""
    truth: NDArray[np.bool_]
    """(k, j, i)"""


def ultrasound_phantom(kind: Kind, seed: int = 0, frames: int = 1, shape_ji: tuple[int, int] = (256, 300)) -> Phantom:
    """A phantom; with several frames the lesion moves a little, as in a clip.

    Args:
        kind: smooth wide ellipse with enhancement behind it; spiculated, about as tall as wide, with shadow; or no
            lesion.
        seed: of tissue, speckle and lesion; the same seed gives the same image.
        frames: number of frames, along k.
        shape_ji: height (depth) and width in pixels of 0.15 mm.
    """
    rng = np.random.default_rng([seed, ("benign", "malignant", "normal").index(kind)])
    height, width = shape_ji
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    tissue = _tissue(y / height, x / width, rng)
    center = np.array([rng.uniform(0.38, 0.5) * height, rng.uniform(0.4, 0.6) * width])
    outline = _Outline.draw(kind, height, rng)
    images, truths = [], []
    for frame in range(frames):
        drift = np.array([1.0, 3.0]) * np.sin(2 * np.pi * frame / 12) * (frames > 1)
        inside = np.zeros(shape_ji) if kind == "normal" else outline.softness(y, x, center + drift)
        echo = tissue * (1 - inside) + inside * (0.008 if kind == "benign" else 0.015)
        if kind == "malignant":  # echogenic halo of the desmoplastic rim
            echo = echo + 0.5 * tissue * np.clip(4 * inside * (1 - inside), 0, 1)
        images.append(_scan(echo, _behind(inside, kind), rng))
        truths.append(inside > 0.5)
    array = np.stack(images)
    ijk_to_ras = np.diag([-SPACING_MM, -SPACING_MM, 1.0, 1.0])
    geometry = VolumeGeometry((frames, height, width), ijk_to_ras)
    return Phantom(f"{kind} phantom", Volume(array[np.newaxis], geometry), np.stack(truths))


@dataclass(frozen=True)
class _Outline:
    """Radius of the lesion as a function of the angle: an ellipse with waves."""

    half_height: float
    half_width: float
    waves: tuple[tuple[int, float, float], ...]
    """(number around, relative height, phase)"""

    @classmethod
    def draw(cls, kind: Kind, height: int, rng: np.random.Generator) -> _Outline:
        size = rng.uniform(0.11, 0.15) * height
        if kind == "benign":
            return cls(size * 0.7, size * 1.25, tuple((n, 0.04, rng.uniform(0, 6.3)) for n in (2, 3)))
        numbers = (2, 3, 5, 8, 13)
        return cls(size * 1.05, size * 0.95, tuple((n, 0.22 / n**0.5, rng.uniform(0, 6.3)) for n in numbers))

    def softness(self, y: Field, x: Field, center: Field) -> Field:
        """(j, i) in [0, 1]: 1 inside, 0 outside, about three pixels in between."""
        dy, dx = (y - center[0]) / self.half_height, (x - center[1]) / self.half_width
        angle = np.arctan2(dy, dx)
        radius = 1 + sum((h * np.sin(n * angle + phase) for n, h, phase in self.waves), np.zeros_like(angle))
        depth_px = (radius - np.hypot(dy, dx)) * min(self.half_height, self.half_width)
        return np.asarray(1 / (1 + np.exp(-depth_px / 0.8)))


def _tissue(v: Field, u: Field, rng: np.random.Generator) -> Field:
    """Echogenicity of skin, fat, gland and muscle; v is the relative depth, u the relative width."""
    wave = sum((rng.uniform(0.005, 0.02) * np.sin(2 * np.pi * n * u + rng.uniform(0, 6.3)) for n in (1, 2, 3)), 0 * u)
    skin = np.exp(-(((v - 0.025) / 0.015) ** 2)) * 1.5
    fat = 0.22 * _band(v, 0.05, 0.26, wave)
    gland = 0.55 * _band(v, 0.26, 0.78, wave)
    muscle = 0.2 * _band(v, 0.78, 1.1, wave)
    septa = np.zeros_like(v)
    for border in (0.26, 0.78):
        septa += 0.8 * np.exp(-(((v - border - wave) / 0.006) ** 2))
    texture = np.exp(0.7 * _smooth_noise(v.shape, 9.0, 20.0, rng))
    # Ligaments: thin, level, bright.
    ridges = np.clip(1 - np.abs(_smooth_noise(v.shape, 2.5, 22.0, rng)) / 0.12, 0, None)
    return np.asarray(skin + (fat + gland + muscle) * texture + septa + 0.9 * ridges * (gland + fat + muscle))


def _band(v: Field, top: float, bottom: float, wave: Field) -> Field:
    edge = 0.008
    return np.asarray(1 / (1 + np.exp(-(v - top - wave) / edge)) / (1 + np.exp((v - bottom - wave) / edge)))


def _behind(inside: Field, kind: Kind) -> Field:
    """Gain in dB behind the lesion: enhancement where it is benign, shadow where it is malignant."""
    crossed = np.clip(np.cumsum(inside, axis=0) / 40.0, 0, 1) * (1 - inside)
    softened = _blur(crossed.astype(np.complex128), 2.0, 5.0).real
    return np.asarray(softened * {"benign": 5.0, "malignant": -9.0, "normal": 0.0}[kind])


def _scan(echo: Field, gain_db: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Echogenicity -> 8-bit B-mode image."""
    power = np.zeros_like(echo)
    for _ in range(_LOOKS):
        scatterers = np.sqrt(echo) * (rng.standard_normal(echo.shape) + 1j * rng.standard_normal(echo.shape))
        power += np.abs(_blur(scatterers, 0.8, 1.5)) ** 2 / _LOOKS
    envelope = np.sqrt(power)
    attenuation_db = -18.0 * np.linspace(0, 1, echo.shape[0])[:, None] ** 2
    decibel = 20 * np.log10(envelope + 1e-6) + gain_db + attenuation_db
    decibel -= np.percentile(decibel, 99.7)
    return np.asarray(np.clip(255 * (1 + decibel / _DYNAMIC_RANGE_DB), 0, 255), dtype=np.uint8)


def _blur(field: NDArray[np.complex128], sigma_j: float, sigma_i: float) -> NDArray[np.complex128]:
    """Gaussian point-spread function, by FFT (the borders wrap)."""
    fj, fi = np.fft.fftfreq(field.shape[0])[:, None], np.fft.fftfreq(field.shape[1])
    transfer = np.exp(-2 * np.pi**2 * ((sigma_j * fj) ** 2 + (sigma_i * fi) ** 2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(field) * transfer))


def _smooth_noise(shape: tuple[int, ...], sigma_j: float, sigma_i: float, rng: np.random.Generator) -> Field:
    noise = _blur(rng.standard_normal(shape).astype(np.complex128), sigma_j, sigma_i).real
    return np.asarray(noise / noise.std())
