import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import UnknownNameError
from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.training import evaluate_text as module
from leanseg.training.data.text_pairs import TextCase
from leanseg.training.evaluate import evaluate
from leanseg.training.evaluate_text import summarize_text
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.text_tiny import write_text_bundle
from Testing.engine.tiny import ellipse

UPPER_LEFT = ellipse((64, 64), (0.12, 0.12), (0.25, 0.25))
LOWER_RIGHT = ellipse((64, 64), (0.1, 0.1), (0.75, 0.75))
NOTHING = np.zeros((64, 64), np.bool_)


def picture_case(name: str, dark: NDArray[np.bool_], truth: NDArray[np.bool_], lesions: Any = None) -> TextCase:
    """One slice without a frame; the model finds what is dark."""
    dark = dark.copy()
    dark[30:35, 60] = dark[10:28, 60] = True  # too small for the model, so that no picture is without contrast
    array = np.where(dark, 20, 200).astype(np.uint8)[np.newaxis, np.newaxis]
    geometry = VolumeGeometry((1, *dark.shape), np.diag([-1.0, -1, 2, 1]), is_calibrated=False)
    return TextCase(name, "made", "ultrasound", Volume(array, geometry), truth[np.newaxis], lesions=lesions)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    postprocessing = dataclasses.asdict(PostprocessingConfig(min_area_fraction=0.006))
    bundle = write_text_bundle(tmp_path_factory.mktemp("models") / "told", card={"postprocessing": postprocessing})
    both = UPPER_LEFT | LOWER_RIGHT
    numbers = (UPPER_LEFT + 2 * LOWER_RIGHT).astype(np.uint8)[np.newaxis]
    cases = [
        picture_case("found", both, both, numbers),
        picture_case("missed", UPPER_LEFT, both),
        picture_case("normal", NOTHING, NOTHING),
        picture_case("normal, dark", UPPER_LEFT, NOTHING),
    ]

    def made(part: str, root: Path) -> Iterator[TextCase]:
        return iter(cases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "cases_of", made)
        return evaluate(str(bundle.folder), "text_phantom", Path("nowhere"), split="test")


def test_text_alone_and_clicks(report: dict[str, Any]) -> None:
    found, missed, *_ = report["cases"]
    assert found["dice_generic"] > 0.9 and found["dice_5_clicks"] > 0.9
    # The dark one of two is found; the first click falls on the other and draws a bump there.
    both, one = (UPPER_LEFT | LOWER_RIGHT).sum(), UPPER_LEFT.sum()
    assert missed["dice_generic"] == pytest.approx(2 * one / (one + both), abs=0.03)
    assert missed["dice_generic"] + 0.03 < missed["dice_1_click"] < missed["dice_3_clicks"] < missed["dice_5_clicks"]


def test_normal_pictures_are_empty_or_not_and_nothing_else_is_asked_of_them(report: dict[str, Any]) -> None:
    empty, dark = report["cases"][2:]
    assert empty["normal_empty"] == 1.0 and dark["normal_empty"] == 0.0
    assert set(dark) == {"id", "slice", "normal_empty"}
    assert report["mean"]["normal_empty"] == {"mean": 0.5, "n": 2}


def test_words_are_followed_and_wrong_ones_leave_the_picture_empty(report: dict[str, Any]) -> None:
    found = report["cases"][0]
    assert found["absent_empty"] == 1.0 and found["wrong_place_empty"] == 1.0
    assert found["wrong_place_by_network"] == 1.0, "it knows words about places"
    assert found["true_prompt_empty"] == 0.0
    assert found["absent_by_network"] == 0.0, "and knows no other: the picture is empty because the session knows them"
    assert found["named_share"] == 1.0 and found["named_dice"] > 0.9


def test_uncertainty_is_larger_near_the_boundary_and_finds_errors(report: dict[str, Any]) -> None:
    found = report["cases"][0]
    assert found["vacuity_near_boundary"] > 2 * found["vacuity_elsewhere"]
    assert 0 <= report["mean"]["ece"]["mean"] < 0.1 and report["mean"]["ece"]["n"] == 4
    assert "error_auroc_vacuity" in report["mean"] and report["mean"]["noise_2.0_vacuity_rise"]["n"] == 2
    assert report["model"] == "told" and report["seconds"]["per_slice"] > 0


def test_a_mean_counts_only_pictures_that_have_the_figure() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "slice": 0, "x": 1.0},
        {"id": "b", "slice": 0, "x": 0.5, "y": float("nan")},
        {"id": "c"},
    ]
    assert summarize_text(rows) == {"x": {"mean": 0.75, "n": 2}}


def test_an_unknown_data_set_is_named(tmp_path: Path) -> None:
    folder = write_text_bundle(tmp_path / "told").folder
    with pytest.raises(UnknownNameError, match="data set"):
        evaluate(str(folder), "bussi", tmp_path)
