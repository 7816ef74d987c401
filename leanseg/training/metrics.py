"""Metrics of binary masks and of foreground probabilities.

MONAI measures surface distances; it is imported on first use because that takes a second or two.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def dice_of_masks(predicted: Bool[Tensor, "batch ..."], truth: Bool[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """2 |A and B| / (|A| + |B|) of each image; 1 where both are empty."""
    predicted, truth = predicted.flatten(1), truth.flatten(1)
    total = predicted.sum(1) + truth.sum(1)
    dice = 2 * (predicted & truth).sum(1) / total.clamp(min=1)
    return torch.where(total > 0, dice, torch.ones_like(dice))


def dice_of_cases(
    predicted: Bool[Tensor, "image label height width"],
    truth: Bool[Tensor, "image label height width"],
    cases: Int[Tensor, " image"],
) -> tuple[Float[Tensor, "case label"], Bool[Tensor, "case label"]]:
    """Dice of each label over all images of a case (1 where both are empty), and whether the truth has the label."""
    number = int(cases.max()) + 1
    both, total, size = (torch.zeros(number, truth.shape[1]) for _ in range(3))
    for sums, masks in ((both, predicted & truth), (total, predicted), (total, truth), (size, truth)):
        sums.index_add_(0, cases, masks.flatten(2).sum(dim=2).float())
    return torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0), size > 0


_PIXELS_AT_ONCE = 1 << 22  # a data set at full resolution has 10^8
_AVERAGED = ("dice", "iou", "recall", "precision", "accuracy", "hd95")


@dataclass(frozen=True)
class CaseMetrics:
    """How well one mask agrees with its ground truth. Fractions lie in [0, 1]; nan where undefined."""

    dice: float
    """1 where both masks are empty."""
    iou: float
    """Of the foreground; 1 where both masks are empty."""
    background_iou: float
    """1 where both masks fill the image."""
    recall: float
    """nan without a lesion."""
    precision: float
    """0 where nothing of a lesion was found, so that a missed lesion counts; nan where both masks are empty."""
    accuracy: float
    """Fraction of pixels."""
    hd95: float
    """nan where either mask is empty; in pixels if the spacing was given as (1, 1)."""
    has_lesion: bool
    is_empty: bool
    """Of the predicted mask."""

    @property
    def mean_class_iou(self) -> float:
        """Mean of background and foreground IoU of this image."""
        return (self.background_iou + self.iou) / 2


def case_metrics(predicted: ArrayLike, truth: ArrayLike, spacing_ji_mm: tuple[float, float]) -> CaseMetrics:
    """Metrics of one image.

    Args:
        predicted: (height, width), true (not 0) where the model sees a lesion
        truth: (height, width), true (not 0) where there is one
        spacing_ji_mm: height and width of a pixel; `hd95` is in its unit

    Raises:
        ValueError: the masks are not two-dimensional or differ in shape.
    """
    a, b = _mask(predicted), _mask(truth)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"Two masks of one (height, width) are needed; got {a.shape} and {b.shape}.")
    both, only_a, only_b = (int(np.count_nonzero(m)) for m in (a & b, a & ~b, b & ~a))
    neither = a.size - both - only_a - only_b
    lesion, found = both + only_b, both + only_a
    return CaseMetrics(
        dice=_ratio(2 * both, lesion + found, otherwise=1.0),
        iou=_ratio(both, both + only_a + only_b, otherwise=1.0),
        background_iou=_ratio(neither, neither + only_a + only_b, otherwise=1.0),
        recall=_ratio(both, lesion, otherwise=math.nan),
        precision=_ratio(both, found, otherwise=0.0 if lesion else math.nan),
        accuracy=(both + neither) / a.size,
        hd95=hausdorff_distance_95(a, b, spacing_ji_mm),
        has_lesion=lesion > 0,
        is_empty=found == 0,
    )


def hausdorff_distance_95(predicted: ArrayLike, truth: ArrayLike, spacing_ji_mm: tuple[float, float]) -> float:
    """95th percentile of the distances between two outlines, the larger of both directions, in mm.

    Args:
        predicted: (height, width)
        truth: (height, width)
        spacing_ji_mm: height and width of a pixel

    Returns:
        nan where either mask is empty: no distance is defined there.
    """
    a, b = _mask(predicted), _mask(truth)
    if not (a.any() and b.any()):
        return math.nan
    with warnings.catch_warnings():
        # MONAI 1.6 calls its own deprecated argument.
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance

        distance = compute_hausdorff_distance(
            torch.from_numpy(a)[None, None],
            torch.from_numpy(b)[None, None],
            include_background=True,  # the only channel is the lesion
            percentile=95,
            spacing=list(spacing_ji_mm),
        )
    return float(distance)


def expected_calibration_error(probabilities: ArrayLike, truth: ArrayLike, bins: int = 15) -> float:
    """sum over bins of (pixels in bin / all pixels) * | mean probability - fraction of foreground |.

    The bins divide [0, 1] into equal widths by the foreground probability, so an over-confident background
    counts as much as an over-confident lesion. (The multi-class definition, which bins the probability of the
    predicted class, folds p and 1 - p together and can hide errors of opposite sign.)

    Args:
        probabilities: of foreground, any shape, in [0, 1]
        truth: the same shape, not 0 where there is foreground
        bins: how many

    Returns:
        0 (calibrated) to 1.
    """
    p, y = _probabilities_and_truth(probabilities, truth)
    gap = np.zeros(bins)  # of each bin, the sum of p - y
    for start in range(0, p.size, _PIXELS_AT_ONCE):
        part = p[start : start + _PIXELS_AT_ONCE].astype(np.float64)
        bin_of = np.minimum((part * bins).astype(np.int64), bins - 1)  # 1.0 belongs to the last bin
        gap += np.bincount(bin_of, weights=part - y[start : start + _PIXELS_AT_ONCE], minlength=bins)
    return float(np.abs(gap).sum() / p.size)


def summarize(cases: Iterable[CaseMetrics]) -> dict[str, dict[str, float]]:
    """`{name: {"mean": mean, "n": images behind it}}`; the mean of nothing is nan, with n = 0.

    All but `normal_empty` are means over the images with a lesion:

    * the numbers of `CaseMetrics`, over images where they are defined (`n` tells how many those are)
    * `miou_images`: mean over images of the foreground IoU (the same number as `iou`)
    * `miou_classes`: mean of background and foreground IoU of an image, averaged over images
    * `normal_empty`: fraction of the images without lesion whose mask is empty
    """
    cases = list(cases)
    lesions = [case for case in cases if case.has_lesion]
    values = {name: [float(getattr(case, name)) for case in lesions] for name in _AVERAGED}
    values["miou_images"] = values["iou"]
    values["miou_classes"] = [case.mean_class_iou for case in lesions]
    values["normal_empty"] = [float(case.is_empty) for case in cases if not case.has_lesion]
    return {name: _mean(numbers) for name, numbers in values.items()}


def _mask(array: ArrayLike) -> NDArray[np.bool_]:
    return np.asarray(array).astype(bool)


def _ratio(part: int, whole: int, otherwise: float) -> float:
    return part / whole if whole else otherwise


def _mean(numbers: list[float]) -> dict[str, float]:
    defined = [number for number in numbers if not math.isnan(number)]
    return {"mean": math.fsum(defined) / len(defined) if defined else math.nan, "n": len(defined)}


def _probabilities_and_truth(
    probabilities: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Both flat.

    Raises:
        ValueError: the shapes differ, there is no pixel, or a probability is outside [0, 1].
    """
    p, y = np.asarray(probabilities), _mask(truth)
    if not np.issubdtype(p.dtype, np.floating):
        p = p.astype(np.float64)
    if p.shape != y.shape or not p.size:
        raise ValueError(f"Probabilities and truth must have one shape and a pixel; got {p.shape} and {y.shape}.")
    if not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"Probabilities lie in [0, 1]; got {p.min():g} to {p.max():g}. Apply a sigmoid to logits.")
    return p.ravel(), y.ravel()
