"""Temperature and postprocessing are found on cases where the right answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training.calibrate import PredictedCase, choose_postprocessing, figures_of, fit_temperature
from leanseg.training.data.arrays import TrainingArrays


class Overconfident(nn.Module):
    """Returns the logits that are hidden in the image, times three."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 3 * image


def test_the_temperature_undoes_overconfidence() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 1, 64, 64, generator=generator)
    targets = (torch.rand(logits.shape, generator=generator) < torch.sigmoid(logits)).to(torch.uint8)
    arrays = TrainingArrays(logits, targets, torch.ones(4, dtype=torch.long), torch.arange(4), ("a", "b", "c", "d"))
    assert fit_temperature(Overconfident(), arrays) == pytest.approx(3.0, rel=0.06)


def blob(peak: float, has_lesion: bool) -> PredictedCase:
    probabilities = np.full((1, 40, 40), 0.01, np.float32)
    probabilities[0, 10:20, 10:20] = peak
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:20, 10:20] = has_lesion
    return PredictedCase(probabilities, truth)


def test_weak_blobs_in_normal_images_are_dropped_by_their_peak() -> None:
    cases = [blob(0.99, True) for _ in range(5)] + [blob(0.72, False) for _ in range(5)]
    config = choose_postprocessing(cases)
    assert config.min_peak_probability > 0.72
    assert figures_of(cases, config) == {"dice": 1.0, "normal_empty": 1.0}


def test_dice_decides_where_every_setting_leaves_normals_empty() -> None:
    cases = [blob(0.45, True), blob(0.1, False)]
    config = choose_postprocessing(cases)
    assert config.threshold == pytest.approx(0.4)
    assert figures_of(cases, config)["dice"] == 1.0


def test_without_normal_images_only_dice_counts() -> None:
    cases = [blob(0.9, True)]
    assert choose_postprocessing(cases) == PostprocessingConfig()
    assert figures_of(cases, PostprocessingConfig()) == {"dice": 1.0}


def test_without_a_lesion_nothing_can_be_chosen() -> None:
    with pytest.raises(LeanSegError, match="No image has a lesion"):
        choose_postprocessing([blob(0.9, False)])
