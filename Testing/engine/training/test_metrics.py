import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.meandice import compute_dice
from monai.metrics.meaniou import compute_iou
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from leanseg.training.metrics import (
    case_metrics,
    dice_of_cases,
    dice_of_masks,
    expected_calibration_error,
    hausdorff_distance_95,
    summarize,
)

PIXELS = (1.0, 1.0)


def mask(text: str) -> NDArray[np.bool_]:
    return np.array([[letter == "x" for letter in row] for row in text.split()])


def boxes(*corners: tuple[int, int, int, int], shape: tuple[int, int] = (40, 50)) -> NDArray[np.bool_]:
    result = np.zeros(shape, bool)
    for top, bottom, left, right in corners:
        result[top:bottom, left:right] = True
    return result


PREDICTED = mask("xx.. xx.. .... ....")
TRUTH = mask(".xx. .xx. .... ....")
EMPTY = np.zeros((4, 4), bool)


def test_metrics_by_hand() -> None:
    # 2 pixels in both, 2 in the prediction alone, 2 in the truth alone, 10 in neither
    metrics = case_metrics(PREDICTED, TRUTH, PIXELS)
    assert metrics.dice == pytest.approx(4 / 8)
    assert metrics.iou == pytest.approx(2 / 6)
    assert metrics.background_iou == pytest.approx(10 / 14)
    assert metrics.recall == metrics.precision == pytest.approx(2 / 4)
    assert metrics.accuracy == pytest.approx(12 / 16)
    assert metrics.hd95 == pytest.approx(1)
    assert metrics.mean_class_iou == pytest.approx((2 / 6 + 10 / 14) / 2)
    assert metrics.has_lesion and not metrics.is_empty


def test_recall_asks_how_much_was_found_and_precision_how_much_of_it_is_right() -> None:
    part = mask("xx.. .... .... ....")
    whole = mask("xx.. xx.. .... ....")
    assert (case_metrics(part, whole, PIXELS).recall, case_metrics(part, whole, PIXELS).precision) == (0.5, 1)
    assert (case_metrics(whole, part, PIXELS).recall, case_metrics(whole, part, PIXELS).precision) == (1, 0.5)


def test_metrics_agree_with_monai() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = boxes((5, 20, 5, 25)), boxes((8, 30, 10, 20)) | (generator.random((40, 50)) < 0.02)
    metrics = case_metrics(predicted, truth, PIXELS)
    y_pred, y = (torch.from_numpy(m)[None, None].float() for m in (predicted, truth))
    assert metrics.dice == pytest.approx(compute_dice(y_pred, y).item())
    assert metrics.iou == pytest.approx(compute_iou(y_pred, y).item())
    assert metrics.background_iou == pytest.approx(compute_iou(1 - y_pred, 1 - y).item())
    confusion = get_confusion_matrix(y_pred, y)
    for name in ("recall", "precision", "accuracy"):
        assert getattr(metrics, name) == pytest.approx(compute_confusion_matrix_metric(name, confusion).item()), name


@pytest.mark.parametrize(
    ("predicted", "truth", "dice", "recall", "precision"),
    [
        pytest.param(EMPTY, EMPTY, 1, math.nan, math.nan, id="normal image left empty"),
        pytest.param(PREDICTED, EMPTY, 0, math.nan, 0, id="false alarm"),
        pytest.param(EMPTY, TRUTH, 0, 0, 0, id="missed lesion"),
    ],
)
def test_empty_masks_have_stated_values_and_no_distance(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], dice: float, recall: float, precision: float
) -> None:
    metrics = case_metrics(predicted, truth, PIXELS)
    assert metrics.dice == metrics.iou == dice
    assert metrics.recall == pytest.approx(recall, nan_ok=True)
    assert metrics.precision == pytest.approx(precision, nan_ok=True)
    assert math.isnan(metrics.hd95)
    assert (metrics.has_lesion, metrics.is_empty) == (truth.any(), not predicted.any())


def test_masks_may_be_labels_and_must_have_one_shape() -> None:
    assert case_metrics(255 * PREDICTED.astype(np.uint8), TRUTH.astype(float), PIXELS) == case_metrics(
        PREDICTED, TRUTH, PIXELS
    )
    with pytest.raises(ValueError, match=r"got \(4, 4\) and \(2, 4\)"):
        case_metrics(PREDICTED, TRUTH[:2], PIXELS)
    with pytest.raises(ValueError, match=r"got \(1, 4, 4\)"):
        case_metrics(PREDICTED[None], TRUTH[None], PIXELS)


def distance_by_brute_force(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    p, q = (np.argwhere(m & ~binary_erosion(m)) * np.array(spacing) for m in (a, b))
    distances = np.linalg.norm(p[:, None] - q[None], axis=-1)
    return float(max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1)))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0), (0.07, 0.09)])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param(boxes((5, 20, 5, 25)), boxes((8, 30, 10, 20)), id="overlapping"),
        pytest.param(boxes((5, 10, 5, 25)), boxes((30, 31, 45, 46)), id="far apart, one of a single pixel"),
        pytest.param(boxes((0, 40, 0, 50)), boxes((8, 30, 10, 20)), id="one fills the image"),
        pytest.param(boxes((5, 10, 5, 10), (30, 38, 30, 48)), boxes((5, 10, 5, 10)), id="one part missed"),
    ],
)
def test_hd95_is_the_larger_percentile_of_both_directions_in_mm(
    a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, float]
) -> None:
    expected = distance_by_brute_force(a, b, spacing)
    assert hausdorff_distance_95(a, b, spacing) == pytest.approx(expected, rel=1e-5)
    assert hausdorff_distance_95(b, a, spacing) == pytest.approx(expected, rel=1e-5)
    assert hausdorff_distance_95(a, a, spacing) == 0


def test_the_first_spacing_is_the_height_of_a_pixel() -> None:
    dot, below = boxes((5, 6, 5, 6)), boxes((9, 10, 5, 6))
    assert hausdorff_distance_95(dot, below, (0.5, 2.0)) == pytest.approx(4 * 0.5)
    assert hausdorff_distance_95(dot.T, below.T, (0.5, 2.0)) == pytest.approx(4 * 2)


def test_batch_dice_is_the_dice_of_each_case() -> None:
    predicted, truth = (np.stack(masks) for masks in ((PREDICTED, EMPTY, PREDICTED), (TRUTH, EMPTY, EMPTY)))
    dice = dice_of_masks(torch.from_numpy(predicted)[:, None], torch.from_numpy(truth)[:, None])
    assert dice.tolist() == [case_metrics(p, t, PIXELS).dice for p, t in zip(predicted, truth, strict=True)]


def test_calibration_error_by_hand() -> None:
    # bins of width 1/2: (0.2, 0.4) with no foreground: gap 0.3; (0.9, 1.0) with half: gap 0.45
    p, y = [0.2, 0.4, 0.9, 1.0], [0, 0, 1, 0]
    assert expected_calibration_error(p, y, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.45)
    # one bin: mean 0.625 against 0.25
    assert expected_calibration_error(p, y, bins=1) == pytest.approx(0.375)


def test_calibrated_probabilities_have_no_error_and_confident_mistakes_the_largest() -> None:
    generator = np.random.default_rng(0)
    p = generator.random((1000, 1000)).astype(np.float32)
    assert expected_calibration_error(p, generator.random(p.shape) < p) < 0.005
    assert expected_calibration_error(p, generator.random(p.shape) < 0.5) == pytest.approx(0.25, abs=0.01)
    assert expected_calibration_error(np.ones(9), np.zeros(9)) == 1


def test_calibration_error_of_many_pixels_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    p, y = generator.random(1000), generator.random(1000) < 0.3
    at_once = expected_calibration_error(p, y)
    monkeypatch.setattr("leanseg.training.metrics._PIXELS_AT_ONCE", 64)
    assert expected_calibration_error(p, y) == pytest.approx(at_once, rel=1e-12)


@pytest.mark.parametrize("score", [expected_calibration_error])
@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5, 0.5], [1], r"got \(2,\) and \(1,\)"),
        ([-3.0, 2.0], [0, 1], "Apply a sigmoid"),
        ([math.nan, 0.5], [0, 1], "lie in"),
        ([], [], "a pixel"),
    ],
)
def test_what_is_not_a_probability_is_refused(score, p, y, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        score(p, y)


def test_summary_averages_images_with_a_lesion_and_counts_empty_normals() -> None:
    cases = [
        case_metrics(PREDICTED, TRUTH, PIXELS),
        case_metrics(TRUTH, TRUTH, PIXELS),
        case_metrics(EMPTY, TRUTH, PIXELS),
        case_metrics(EMPTY, EMPTY, PIXELS),
        case_metrics(EMPTY, EMPTY, PIXELS),
        case_metrics(PREDICTED, EMPTY, PIXELS),
    ]
    summary = summarize(iter(cases))
    assert summary["dice"] == {"mean": pytest.approx((0.5 + 1 + 0) / 3), "n": 3}
    assert summary["recall"] == summary["precision"] == {"mean": pytest.approx(0.5), "n": 3}
    assert summary["hd95"] == {"mean": pytest.approx(0.5), "n": 2}  # the missed lesion has no distance
    assert summary["miou_images"] == summary["iou"] == {"mean": pytest.approx((1 / 3 + 1) / 3), "n": 3}
    backgrounds = (10 / 14 + 1 + 12 / 16) / 3
    assert summary["miou_classes"] == {"mean": pytest.approx((summary["iou"]["mean"] + backgrounds) / 2), "n": 3}
    assert summary["normal_empty"] == {"mean": pytest.approx(2 / 3), "n": 3}


def test_the_mean_of_nothing_is_nan_of_zero_images() -> None:
    for values in summarize([]).values():
        assert math.isnan(values["mean"]) and values["n"] == 0


def test_metrics_are_imported_without_monai() -> None:
    code = "import sys, leanseg.training.metrics; sys.exit('monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_dice_of_cases_pools_the_slices_of_a_case() -> None:
    truth, predicted = torch.zeros(3, 2, 2, 2, dtype=torch.bool), torch.zeros(3, 2, 2, 2, dtype=torch.bool)
    truth[0, 0, 0] = True  # case 0, label 0: two pixels in its first slice, none in its second
    predicted[0, 0, 0, 0] = predicted[1, 0, 0, 0] = True  # one of them found, and one in the slice without
    predicted[2, 1, 0, 0] = True  # case 1 has nothing, but something is drawn as label 1
    dice, has = dice_of_cases(predicted, truth, torch.tensor([0, 0, 1]))
    assert dice.tolist() == [[2 * 1 / (2 + 2), 1.0], [1.0, 0.0]]
    assert has.tolist() == [[True, False], [False, False]]
