"""What `preprocess_brain` and its config refuse, and what they say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError, LeanSegError, UnknownNameError
from leanseg.processing.brain import BrainPreprocessingConfig, preprocess_brain
from leanseg.schema import parse
from leanseg.volume import MAX_VALUES, Volume, VolumeGeometry
from Testing.engine.processing.test_brain import LPS, SMALL, head


def changed(name: str, array: NDArray[np.generic], geometry: VolumeGeometry | None = None) -> dict[str, Volume]:
    sequences = head()
    shape = (array.shape[1], array.shape[2], array.shape[3])
    return sequences | {name: Volume(array, geometry or VolumeGeometry(shape, LPS))}


GRAY = head()["t1"].array
SHIFTED = LPS.copy()
SHIFTED[0, 3] = 2.0


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ({}, "No sequence came. Give at least one of flair, t1ce, t1, t2"),
        (changed("t2", GRAY[:, :, :40]), r"t2 has 50 x 40 x 20 voxels, flair 50 x 60 x 20; .*Resample t2 to the grid"),
        (
            changed("t1ce", GRAY, VolumeGeometry((20, 60, 50), SHIFTED)),
            r"t1ce and flair .* lie elsewhere: .*\(2, 0, 0\) mm and \(0, 0, 0\) mm RAS\. Resample t1ce to the grid",
        ),
        (
            changed("t1ce", GRAY, VolumeGeometry((20, 60, 50), LPS @ np.diag([1, 1, 2, 1]))),
            r"voxels of \(1, 1, 2\) mm and \(1, 1, 1\) mm",
        ),
        (changed("t1", np.repeat(GRAY, 3, axis=0)), "t1 has 3 channels; one gray volume is needed"),
        (changed("t1", np.where(GRAY > 150, np.nan, GRAY)), r"t1 has \d+ values that are NaN or infinite\. Repair it"),
        (changed("t1", head()["t2"].array), "t1 and t2 are the same image. Choose the right one, or leave t2 out"),
        ({"t1": head()["t1"].with_array(np.zeros_like(GRAY))}, "t1: every value is the same. Choose images with"),
        ({"t1": head()["t1"].with_array(-GRAY.astype(np.int16))}, "No value is above 0, so there is no brain"),
        ({"t1": head()["t1"].with_array(np.minimum(GRAY, 1))}, "t1: constant where above 0, like a mask"),
        (
            {"t1": Volume(GRAY, VolumeGeometry((20, 60, 50), np.eye(4), is_calibrated=False))},
            "t1 states no voxel size, as a picture.*Give NIfTI, NRRD or DICOM",
        ),
        (head(matrix=np.diag([0.1, 0.1, 0.1, 1])), "The brain covers 3 x 4 mm of an axial plane; at least 16 mm"),
        (head(matrix=np.diag([10.0, 10, 10, 1])), "300 x 400 mm of an axial plane are above 0, more than a head"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(sequences: dict[str, Volume], message: str) -> None:
    with pytest.raises(IncompatibleInputError, match=message):
        preprocess_brain(sequences, SMALL)


def test_a_sequence_that_the_model_does_not_know_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no sequence named 'flar'\. Did you mean 'flair'\?"):
        preprocess_brain({"flar": head()["t1"]}, SMALL)


def test_headers_that_differ_by_rounding_pass() -> None:
    rounded = LPS + np.diag([1e-5, 1e-5, 1e-5, 0])
    preprocess_brain(changed("t2", head()["t2"].array, VolumeGeometry((20, 60, 50), rounded)), SMALL)


def test_too_many_values_are_refused_before_any_work() -> None:
    side = int((MAX_VALUES / 4) ** (1 / 3)) + 2
    huge = np.broadcast_to(np.uint8(1), (1, side, side, side)).copy()
    huge[0, 0, 0, 0] = 2
    geometry = VolumeGeometry((side, side, side), np.diag([0.5, 0.5, 0.5, 1]))
    with pytest.raises(IncompatibleInputError, match=r"\d+ million values; at most 100 million are processed at once"):
        preprocess_brain({"t1": Volume(huge, geometry)}, SMALL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sequences": ["t1", "t1"]}, "each once"),
        ({"sequences": []}, "must be named"),
        ({"sequences": ["pd"]}, "got 'pd'"),
        ({"size_ji": [0, 160]}, "must be positive"),
        ({"spacing_k_mm": 0.0}, "must be positive"),
        ({"spacing_ji_mm": [1.0, float("nan")]}, "must be positive"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(LeanSegError, match=message):
        parse(BrainPreprocessingConfig, values, "card.preprocessing")


def test_the_config_is_read_from_a_card() -> None:
    values = {
        "sequences": ["flair", "t1ce", "t1", "t2"],
        "size_ji": [192, 160],
        "spacing_ji_mm": [1.0, 1.0],
        "spacing_k_mm": None,
    }
    assert parse(BrainPreprocessingConfig, values, "card", complete=True) == BrainPreprocessingConfig()
