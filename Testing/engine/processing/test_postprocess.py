import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.prediction import Prediction
from leanseg.processing.grid import Crop, GridTrace, Pad, Resample
from leanseg.processing.postprocess import PostprocessingConfig, lesion_mask, restore
from leanseg.segmentation import Segment
from leanseg.volume import Volume, VolumeGeometry

LESION = Segment("lesion", "Lesion", 1, (1, 0, 0))
CYST = Segment("cyst", "Cyst", 2, (0, 1, 0))


def probabilities(*rows: str) -> NDArray[np.float32]:
    """One slice, a digit for each tenth: `09` is 0.0, 0.9."""
    return np.array([[[int(digit) / 10 for digit in row] for row in rows]], dtype=np.float32)


def drawn(p: NDArray[np.float32], **options: float | bool) -> list[str]:
    """The mask of the first slice, `#` where there is lesion."""
    mask = lesion_mask(p, PostprocessingConfig(**options))  # type: ignore[arg-type]
    return ["".join("#" if value else "." for value in row) for row in mask[0]]


def test_the_threshold_itself_is_lesion() -> None:
    p = probabilities("4567")
    assert drawn(p) == [".###"]
    assert drawn(p, threshold=0.65) == ["...#"]


TWO = probabilities(
    "990000",
    "000066",
    "000666",
)


def test_without_options_every_component_is_kept() -> None:
    assert drawn(TWO) == ["##....", "....##", "...###"]


def test_a_component_needs_its_peak() -> None:
    assert drawn(TWO, min_peak_probability=0.8) == ["##....", "......", "......"]
    assert drawn(TWO, min_peak_probability=0.55) == drawn(TWO)
    assert drawn(TWO, min_peak_probability=0.95) == ["......"] * 3


def test_a_component_needs_its_area() -> None:
    assert drawn(TWO, min_area_fraction=3 / 18) == ["......", "....##", "...###"]
    assert drawn(TWO, min_area_fraction=2 / 18) == drawn(TWO), "the fraction itself is enough"


def test_only_the_largest_component_is_kept() -> None:
    assert drawn(TWO, largest_component=True) == ["......", "....##", "...###"]


def test_the_largest_is_chosen_among_those_that_pass_the_other_options() -> None:
    assert drawn(TWO, largest_component=True, min_peak_probability=0.8) == ["##....", "......", "......"]
    assert drawn(TWO, largest_component=True, min_peak_probability=0.95) == ["......"] * 3


def test_of_two_equal_components_the_first_is_kept() -> None:
    assert drawn(probabilities("909", "909"), largest_component=True) == ["#..", "#.."]


def test_pixels_that_touch_at_a_corner_are_one_component() -> None:
    assert drawn(probabilities("900", "090", "009", "900"), largest_component=True) == ["#..", ".#.", "..#", "..."]


def test_components_are_found_in_each_slice_for_itself() -> None:
    p = np.concatenate([probabilities("99009"), probabilities("90099"), probabilities("00000")])
    mask = lesion_mask(p, PostprocessingConfig(largest_component=True))
    assert mask.astype(int).tolist() == [[[1, 1, 0, 0, 0]], [[0, 0, 0, 1, 1]], [[0, 0, 0, 0, 0]]]


def prediction(p: NDArray[np.float32], geometry: VolumeGeometry) -> Prediction:
    uncertainty = Volume(np.full((1, *geometry.shape), 0.25, np.float32), geometry)
    return Prediction(Volume(p, geometry), uncertainty)


def test_restore_brings_probabilities_back_before_it_decides() -> None:
    source = VolumeGeometry((1, 4, 8), np.diag([0.3, 0.2, 1, 1]))
    trace = GridTrace()
    image = Volume(np.zeros((1, 1, 4, 8), np.float32), source)
    small = trace.record(Resample(source, (1, 2, 4)), image)
    padded = trace.record(Pad.centered(small.geometry, (1, 4, 4)), small)
    p = np.ones((1, *padded.geometry.shape), np.float32)
    p[0, 0, 1:3] = [[0, 0, 1, 1], [0, 0, 1, 1]]
    result = restore(prediction(p, padded.geometry), trace, (LESION,), PostprocessingConfig())
    assert result.geometry == source or result.geometry.is_close_to(source)
    # Between the centers at 0 and 1 the probability is linear: a quarter and three quarters of the way.
    np.testing.assert_allclose(result.probabilities.array[0, 0, 0], [0, 0, 0, 0.25, 0.75, 1, 1, 1], atol=1e-6)
    assert result.labelmap[0].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 4
    np.testing.assert_allclose(result.uncertainty.array, 0.25)


def test_probabilities_and_uncertainty_are_clipped() -> None:
    geometry = VolumeGeometry((1, 1, 3))
    p = np.array([[[[-0.1, 0.5, 1.2]]]], np.float32)
    result = restore(prediction(p, geometry), GridTrace(), (LESION,), PostprocessingConfig())
    assert result.probabilities.array.ravel().tolist() == [0, 0.5, 1]


def test_each_segment_gets_its_value_and_the_last_one_wins() -> None:
    geometry = VolumeGeometry((1, 1, 3))
    p = np.array([[[[0.9, 0.9, 0]]], [[[0, 0.6, 0]]]], np.float32)
    result = restore(prediction(p, geometry), GridTrace(), (LESION, CYST), PostprocessingConfig())
    assert result.labelmap.ravel().tolist() == [1, 2, 0]
    assert result.mask("cyst").ravel().tolist() == [False, True, False]


def test_segments_that_do_not_match_the_labels_are_a_bug() -> None:
    geometry = VolumeGeometry((1, 1, 3))
    with pytest.raises(ValueError, match="shorter"):
        restore(
            prediction(np.zeros((2, 1, 1, 3), np.float32), geometry), GridTrace(), (LESION,), PostprocessingConfig()
        )


@pytest.mark.parametrize("options", [{}, {"largest_component": True}, {"min_area_fraction": 0.1}])
def test_deciding_inside_a_crop_changes_nothing(options: dict[str, float | bool]) -> None:
    """The image has 10 x 8 pixels, the crop 5 x 4: 10 % of a slice are 8 pixels of the image, not 2 of the crop."""
    config = PostprocessingConfig(**options)  # type: ignore[arg-type]
    crop = Crop(VolumeGeometry((3, 10, 8)), (1, 2, 3), (1, 5, 4))
    array = np.zeros((2, 1, 5, 4), np.float32)
    array[0, 0, :3, :3], array[0, 0, 4, 3], array[1, 0, 1, 1] = 0.9, 0.8, 1.0
    p = Volume(array, crop.target)
    result = restore(Prediction(p, p.with_array(array[:1])), GridTrace([crop]), (LESION, CYST), config)
    whole = crop.undo(p).array
    expected = np.where(lesion_mask(whole[0], config), 1, 0)
    expected[lesion_mask(whole[1], config)] = 2
    np.testing.assert_array_equal(result.labelmap, expected)
    np.testing.assert_array_equal(result.probabilities.array, whole)
    assert (result.labelmap == 1).sum() == {(): 9, ("largest_component",): 8, ("min_area_fraction",): 9}[tuple(options)]


def test_what_the_engine_said_is_handed_on() -> None:
    p = Volume(np.zeros((1, 1, 2, 2), np.float32), VolumeGeometry((1, 2, 2)))
    result = restore(Prediction(p, p, {"gmacs": 3.0}), GridTrace(), (LESION,), PostprocessingConfig())
    assert result.notes == {"gmacs": 3.0}
