"""Simulated images with up to three lesions, so that "the upper left one" has a known answer.

Two kinds: breast ultrasound, and axial slices of contrast-enhanced breast MRI after subtraction. The lesions of an
image look alike, so only words about place, shape and size tell them apart. Figures on it say that words are followed;
they say nothing about accuracy on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leanseg.volume import Volume, VolumeGeometry

TextPhantomKind = Literal["ultrasound", "mri"]
KINDS: tuple[TextPhantomKind, ...] = ("ultrasound", "mri")
MOST_LESIONS = 3
SLICE_MM = 4.0
_WIDTH_MM = {"ultrasound": 40.0, "mri": 300.0}
_GAP = 0.03
"""Between two lesions, as a fraction of the width."""
_RADII = {"ultrasound": (0.045, 0.07, 0.1), "mri": (0.03, 0.045, 0.07)}
"""Of small, medium and large lesions, as fractions of the width."""
_ATTEMPTS = 60
Field = NDArray[np.float64]


@dataclass(frozen=True)
class TextPhantom:
    """A simulated image and its lesions."""

    image: Volume
    """(1, k, j, i), uint8; MRI as Slicer shows it: row 0 anterior, column 0 the patient's right"""
    lesions: NDArray[np.uint8]
    """(k, j, i): 0, or the number of the lesion from 1"""


@dataclass(frozen=True)
class _Lesion:
    """An ellipsoid whose outline in the slice has waves; lengths as fractions of the width."""

    y: float
    x: float
    radius: float
    stretch: float
    turn: float
    waves: tuple[tuple[int, float, float], ...]
    """(number around, relative height, phase)"""
    k: float
    half_depth: float
    """Both in slices."""

    @property
    def reach(self) -> float:
        return self.radius * max(self.stretch, 1 / self.stretch) * (1 + sum(height for _, height, _ in self.waves))

    def softness(self, y: Field, x: Field, k: int) -> Field:
        """(j, i) in [0, 1]: 1 inside, 0 outside, a soft edge."""
        scale = 1 - ((k - self.k) / self.half_depth) ** 2
        if scale <= 0:
            return np.zeros_like(y)
        dy, dx = y - self.y, x - self.x
        u, v = dx * np.cos(self.turn) + dy * np.sin(self.turn), dy * np.cos(self.turn) - dx * np.sin(self.turn)
        u, v = u / self.stretch, v * self.stretch
        angle = np.arctan2(v, u)
        radius = 1 + sum((h * np.sin(n * angle + phase) for n, h, phase in self.waves), np.zeros_like(angle))
        inside = radius * self.radius * np.sqrt(scale) - np.hypot(u, v)
        return np.asarray(1 / (1 + np.exp(-np.clip(inside / 0.004, -40, 40))))


def text_phantom(
    kind: TextPhantomKind,
    seed: int = 0,
    lesions: int | None = None,
    shape_ji: tuple[int, int] = (192, 192),
    slices: int = 1,
) -> TextPhantom:
    """A phantom with lesions that do not touch.

    Args:
        kind: of image.
        seed: of everything; the same seed gives the same image.
        lesions: 0 to `MOST_LESIONS`; None: drawn.
        shape_ji: height and width in pixels.
        slices: along k, `SLICE_MM` apart; lesions lie around the middle one.

    Raises:
        ValueError: a negative number of lesions, or more than `MOST_LESIONS`.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    number = int(rng.choice(4, p=(0.15, 0.3, 0.35, 0.2))) if lesions is None else lesions
    if not 0 <= number <= MOST_LESIONS:
        raise ValueError(f"lesions must be 0 to {MOST_LESIONS}; got {number}.")
    height, width = shape_ji
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) / width
    room = _breasts(y, x, height / width) if kind == "mri" else _insonated(y, x, height / width)
    drawn = _place(number, room, slices, _RADII[kind], rng)
    anatomy = _mri_anatomy(y, x, room, rng) if kind == "mri" else _ultrasound_anatomy(y, x, height / width, rng)
    images, labels = [], []
    for k in range(slices):
        soft = [lesion.softness(y, x, k) for lesion in drawn]
        inside = np.max([np.zeros_like(y), *soft], axis=0)
        images.append(_mri(anatomy, inside, rng) if kind == "mri" else _ultrasound(anatomy, inside, soft, rng))
        label = np.zeros(shape_ji, np.uint8)
        for n, one in enumerate(soft, 1):
            label[one > 0.5] = n
        labels.append(label)
    mm = _WIDTH_MM[kind] / width
    geometry = VolumeGeometry((slices, height, width), np.diag([-mm, -mm, SLICE_MM, 1.0]))
    return TextPhantom(Volume(np.stack(images)[np.newaxis], geometry), np.stack(labels))


def _place(
    number: int, room: NDArray[np.bool_], slices: int, radii: tuple[float, ...], rng: np.random.Generator
) -> list[_Lesion]:
    """Lesions inside `room` (j, i); fewer than `number` only where there is no place for more."""
    (rows, columns), width = np.nonzero(room), room.shape[1]
    placed: list[_Lesion] = []
    for _ in range(_ATTEMPTS * number):
        if len(placed) == number:
            break
        n = int(rng.integers(len(rows)))
        lesion = _any_lesion(rows[n] / width, columns[n] / width, slices, float(rng.choice(radii)), rng)
        reach = round(lesion.reach * width)
        j, i = int(rows[n]), int(columns[n])
        box = room[max(j - reach, 0) : j + reach + 1, max(i - reach, 0) : i + reach + 1]
        fits = box.size == (2 * reach + 1) ** 2 and box.mean() > 0.9
        apart = all(
            np.hypot(lesion.y - other.y, lesion.x - other.x) > lesion.reach + other.reach + _GAP for other in placed
        )
        if fits and apart:
            placed.append(lesion)
    return placed


def _any_lesion(y: float, x: float, slices: int, radius: float, rng: np.random.Generator) -> _Lesion:
    """Round, oval, or irregular."""
    shape = int(rng.integers(3))
    waves: tuple[tuple[int, float, float], ...] = ((3, 0.03, float(rng.uniform(0, 6.3))),)
    if shape == 2:
        waves = tuple((n, float(rng.uniform(0.1, 0.2)), float(rng.uniform(0, 6.3))) for n in (2, 3, 5, 7))
    stretch = float(rng.uniform(1.3, 1.6)) if shape == 1 else 1.0
    middle = (slices - 1) / 2
    return _Lesion(
        float(y), float(x), radius * float(rng.uniform(0.85, 1.15)), stretch,
        float(rng.normal(0, 0.4)), waves,
        float(middle + rng.uniform(-0.25, 0.25) * (slices - 1)), float(rng.uniform(0.25, 0.5) * slices + 0.6),
    )  # fmt: skip


# ── ultrasound ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _insonated(y: Field, x: Field, aspect: float) -> NDArray[np.bool_]:
    return np.asarray((y > 0.1) & (y < 0.92 * aspect) & (x > 0.04) & (x < 0.96))


def _ultrasound_anatomy(y: Field, x: Field, aspect: float, rng: np.random.Generator) -> Field:
    """Echogenicity: layers with waves, coarse texture, and shadows that are no lesions."""
    v = y / aspect
    wave = sum((rng.uniform(0.005, 0.025) * np.sin(6.3 * n * x + rng.uniform(0, 6.3)) for n in (1, 2, 3)), 0 * x)
    borders = np.array([0.05, rng.uniform(0.18, 0.3), rng.uniform(0.7, 0.85)])
    echoes = np.array([1.5, 0.35, 0.6, 0.3]) * rng.uniform(0.7, 1.3, 4)
    layer = np.searchsorted(borders, (v - wave).ravel()).reshape(v.shape)
    texture = np.exp(rng.uniform(0.25, 0.5) * _smooth_noise(y.shape, 0.015, 0.04, rng))
    shadow = 1 - 0.7 * (rng.random() < 0.4) * np.exp(-(((x - rng.random()) / 0.04) ** 2)) * (v > rng.uniform(0.1, 0.5))
    return np.asarray(echoes[layer] * texture * shadow)


def _ultrasound(echo: Field, inside: Field, soft: list[Field], rng: np.random.Generator) -> NDArray[np.uint8]:
    echo = echo * (1 - inside) + 0.03 * inside
    gain_db = -12 * np.linspace(0, 1, len(echo))[:, None]
    for one in soft:
        behind = np.clip(np.cumsum(one, axis=0) / 12, 0, 1) * (1 - one)
        gain_db = gain_db + rng.uniform(-7, 4) * behind
    looks = [np.abs(_blurred(np.sqrt(echo) * _complex_noise(echo.shape, rng), 0.003, 0.006)) ** 2 for _ in range(2)]
    decibel = 10 * np.log10(np.mean(looks, axis=0) + 1e-9) + gain_db
    decibel -= np.percentile(decibel, 99.5)
    return np.asarray(np.clip(255 * (1 + decibel / 45), 0, 255), dtype=np.uint8)


# ── MRI ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _breasts(y: Field, x: Field, aspect: float) -> NDArray[np.bool_]:
    """Two half ellipses that hang from the chest wall, which is below them in the picture."""
    wall = 0.62 * aspect
    halves = [((x - middle) / 0.17) ** 2 + ((y - wall) / (0.45 * aspect)) ** 2 < 1 for middle in (0.27, 0.73)]
    return np.asarray((halves[0] | halves[1]) & (y < wall))


def _mri_anatomy(y: Field, x: Field, room: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Enhancement of skin, glandular tissue, vessels, and the chest with the heart."""
    aspect = len(y) / y.shape[1]
    gland = np.clip(_smooth_noise(y.shape, 0.03, 0.03, rng) - rng.uniform(-0.3, 0.8), 0, 1) * rng.uniform(0.05, 0.3)
    vessel = np.clip(1 - np.abs(_smooth_noise(y.shape, 0.06, 0.03, rng)) / 0.05, 0, 1) * rng.uniform(0.05, 0.4)
    inner = _blurred(room.astype(np.complex128), 0.006, 0.006).real
    skin = np.clip(4 * inner * (1 - inner), 0, 1) * rng.uniform(0.1, 0.35)
    chest = (y > 0.64 * aspect) & (((x - 0.5) / 0.47) ** 2 + ((y - 0.9 * aspect) / (0.28 * aspect)) ** 2 < 1)
    heart = np.exp(-(((x - rng.uniform(0.5, 0.65)) / 0.15) ** 2) - ((y - 0.8 * aspect) / (0.12 * aspect)) ** 2)
    lung = 0.15 + 0.1 * _smooth_noise(y.shape, 0.02, 0.02, rng)
    return np.asarray(0.04 + room * (gland + vessel) + skin + chest * (lung + rng.uniform(0.3, 0.8) * heart))


def _mri(anatomy: Field, inside: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    uneven = 0.75 + 0.2 * _smooth_noise(anatomy.shape, 0.012, 0.012, rng)
    signal = anatomy * (1 - inside) + rng.uniform(0.6, 0.9) * np.clip(uneven, 0.4, 1.2) * inside
    rician = np.abs(signal + rng.uniform(0.02, 0.06) * _complex_noise(anatomy.shape, rng))
    return np.asarray(np.clip(255 * rician, 0, 255), dtype=np.uint8)


# ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _complex_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex128]:
    return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def _blurred(field: NDArray[np.complex128], sigma_j: float, sigma_i: float) -> NDArray[np.complex128]:
    """By a Gaussian, sigmas as fractions of the width; by FFT (the borders wrap)."""
    width = field.shape[1]
    fj, fi = np.fft.fftfreq(field.shape[0])[:, None] * width, np.fft.fftfreq(width) * width
    transfer = np.exp(-2 * np.pi**2 * ((sigma_j * fj) ** 2 + (sigma_i * fi) ** 2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(field) * transfer))


def _smooth_noise(shape: tuple[int, ...], sigma_j: float, sigma_i: float, rng: np.random.Generator) -> Field:
    noise = _blurred(rng.standard_normal(shape).astype(np.complex128), sigma_j, sigma_i).real
    return np.asarray(noise / noise.std())
