from typing import Any

import numpy as np
import pytest

from leanseg.errors import IncompatibleInputError, InferenceCancelled, UnknownNameError
from leanseg.processing.coregistration import Aligned, align_sequences, movement_of
from leanseg.processing.rigid_registration import NotRegistered, register
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import voxel_centers
from Testing.engine.processing.brain_phantom import GRID, brain, brains, centered, motion, moved, tissues

MIDDLE = GRID.ras_of((np.array(GRID.shape[::-1]) - 1) / 2)


def never() -> None:
    """Nobody cancels."""


# ── resampling ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_lies_on_one_grid_comes_back_as_it_is() -> None:
    sequences = brains()
    aligned = align_sequences(sequences, "t1")
    assert all(aligned.sequences[name] is volume for name, volume in sequences.items())
    assert (aligned.notes, aligned.movements) == ([], {})


def test_headers_that_differ_by_rounding_count_as_one_grid() -> None:
    near = VolumeGeometry(GRID.shape, GRID.ijk_to_ras + np.diag([1e-4, 0, 0, 0]))
    sequences = {"t1": brain("t1"), "t2": brain("t2", near)}
    assert align_sequences(sequences, "t1").sequences["t2"] is sequences["t2"]


def test_resampling_keeps_every_value_at_its_place_in_the_patient() -> None:
    """Linear interpolation of a linear function is exact: 300 + R + 2 A - 3 S on an oblique grid."""
    target = VolumeGeometry(
        (9, 14, 11), motion(20, (1, 2, 3), (0, 0, 0)) @ centered((9, 14, 11), (4, 1.5, 2)).ijk_to_ras
    )
    source = centered((40, 40, 40), (2, 1.5, 1.7))
    slopes = (1.0, 2.0, -3.0)
    volume = Volume((1300 + voxel_centers(source) @ slopes)[np.newaxis], source)
    result = align_sequences({"t1": Volume(np.ones((1, 9, 14, 11)), target), "t2": volume}, "t1")
    fine = result.sequences["t2"].array[0]
    expected = 1300 + voxel_centers(target) @ slopes
    assert result.sequences["t2"].geometry is target
    np.testing.assert_allclose(fine[1:-1, 1:-1, 1:-1], expected[1:-1, 1:-1, 1:-1], atol=0.05)
    (note,) = result.notes
    assert note.startswith(
        "t2 was resampled from 40 x 40 x 40 voxels of 1.7 x 1.5 x 2 mm to the 11 x 14 x 9 voxels of "
    )
    assert note.endswith("of 2 x 1.5 x 4 mm of t1.")


def test_the_background_is_not_mixed_into_the_rim_of_the_brain() -> None:
    ball = centered((60, 60, 60), (2, 2, 2))
    inside = np.linalg.norm(voxel_centers(ball) - MIDDLE, axis=-1) < 50
    volume = Volume((100 * inside)[np.newaxis].astype(np.uint8), ball)
    result = align_sequences({"t1": brain("t1"), "t2": volume}, "t1").sequences["t2"].array[0]
    assert np.allclose(result[result != 0], 100, atol=1e-3)
    distance = np.linalg.norm(voxel_centers(GRID) - MIDDLE, axis=-1)
    assert (result[distance < 48] > 0).all() and not result[distance > 52].any()


def test_values_below_0_are_kept() -> None:
    volume = brain("t2", centered((75, 96, 84), (2, 2, 2)))
    shifted = volume.with_array(volume.array - np.int16(500))
    result = align_sequences({"t1": brain("t1"), "t2": shifted}, "t1").sequences["t2"].array
    assert result.min() < -400 and result.max() < 0


def test_thick_slices_hold_the_mean_of_the_thin_ones() -> None:
    """Stripes of 50 and 150, 1 mm each, seen in slices of 5 mm: about 100, where single samples would be 50 or 150."""
    thin, thick = centered((100, 20, 20), (1, 5, 5)), centered((20, 20, 20), (5, 5, 5))
    stripes = np.where(np.arange(100) % 2, 150, 50)[:, None, None] * np.ones((100, 20, 20))
    pair = {"t1": Volume(np.ones((1, 20, 20, 20)), thick), "t2": Volume(stripes[np.newaxis], thin)}
    assert np.abs(align_sequences(pair, "t1").sequences["t2"].array - 100).max() < 15


# ── too little in common ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("shift_mm", "percent"), [(500.0, "0 %"), (150.0, r"\d %")])
def test_images_without_a_common_place_are_refused(shift_mm: float, percent: str) -> None:
    pair = {"t1": brain("t1"), "t2": moved(brain("t2"), motion(0, (1, 0, 0), (0, 0, shift_mm)))}
    with pytest.raises(IncompatibleInputError, match=f"t2 covers {percent} of what t1 shows; at least 20 % are needed"):
        align_sequences(pair, "t1")


def test_a_slab_that_covers_a_part_is_told() -> None:
    """The upper half of the grid, so half of a brain that lies in its middle."""
    whole = brain("t2")
    matrix = GRID.ijk_to_ras.copy()
    matrix[2, 3] += 25 * 3
    half = Volume(whole.array[:, 25:], VolumeGeometry((25, 64, 56), matrix))
    aligned = align_sequences({"t1": brain("t1"), "t2": half}, "t1")
    assert aligned.notes[0] == "t2 covers only 50 % of what t1 shows."
    assert not aligned.sequences["t2"].array[0, :25].any()
    np.testing.assert_allclose(aligned.sequences["t2"].array[0, 25:], whole.array[0, 25:], atol=1e-3)


# ── rigid ───────────────────────────────────────────────────────────────────────────────────────────────────────────

MOTIONS = {
    "shifted": motion(0, (0, 0, 1), (7, -5, 6)),
    "turned": motion(10, (1, 2, -1), (0, 0, 0)),
    "far": motion(25, (0.2, 0.3, 1), (60, 20, -40)),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_a_movement_between_two_contrasts_is_found_to_half_a_millimeter_and_half_a_degree(name: str) -> None:
    found = register(brain("t1"), moved(brain("t2", seed=1), MOTIONS[name]), never)
    error = movement_of(np.linalg.inv(MOTIONS[name]) @ found, MIDDLE)
    assert error.mm < 0.5 and error.degrees < 0.5


def test_the_moved_sequence_comes_back_to_its_place_and_is_told() -> None:
    pair = {"flair": brain("flair"), "t1ce": moved(brain("t1ce"), MOTIONS["shifted"])}
    aligned = align_sequences(pair, "flair", "rigid")
    assert aligned.sequences["flair"] is pair["flair"]
    way = aligned.movements["t1ce"]
    assert way.mm == pytest.approx(np.sqrt(49 + 25 + 36), abs=0.5) and way.degrees < 0.5
    assert aligned.notes == [f"t1ce was moved {way.mm:.1f} mm and turned {way.degrees:.1f} degrees to fit flair."]
    inner = tissues(GRID) == 3
    difference = np.abs(aligned.sequences["t1ce"].array[0] - brain("t1ce").array[0].astype(float))[inner]
    assert np.mean(difference) < 8  # the noise alone makes 4.5


def test_thick_slices_in_another_orientation_are_registered_to_a_millimeter_and_a_degree() -> None:
    slab = centered((30, 96, 84), (5, 2, 2))
    turned = Volume(brain("t2", slab).array[0].transpose(2, 0, 1)[np.newaxis], _axes_to_front(slab))
    found = register(brain("t1"), moved(turned, MOTIONS["turned"]), never)
    error = movement_of(np.linalg.inv(MOTIONS["turned"]) @ found, MIDDLE)
    assert error.mm < 1 and error.degrees < 1


def _axes_to_front(grid: VolumeGeometry) -> VolumeGeometry:
    """The same places with the axes i, k, j in the order k, j, i."""
    k, j, i = grid.shape
    return VolumeGeometry((i, k, j), grid.ijk_to_ras[:, [1, 2, 0, 3]])


def test_what_fits_already_is_not_moved() -> None:
    sequences = brains()
    aligned = align_sequences(sequences, "t1", "rigid")
    assert aligned.movements == {} and all(aligned.sequences[name] is sequences[name] for name in sequences)


def test_the_same_images_give_the_same_result() -> None:
    pair = brain("t1"), moved(brain("flair"), MOTIONS["turned"])
    np.testing.assert_array_equal(register(*pair, never), register(*pair, never))


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (brain("t2", centered((1, 64, 56), (5, 3, 3))), "1 slices are too few to register"),
        (brain("t2").with_array(np.full((1, *GRID.shape), 7)), "every value of one image is the same"),
    ],
)
def test_what_cannot_be_registered_stays_where_its_header_puts_it(other: Volume, reason: str) -> None:
    with pytest.raises(NotRegistered, match=reason):
        register(brain("t1"), other, never)
    aligned = align_sequences({"t2": other, "t1": brain("t1")}, "t2", "rigid")
    assert aligned.movements == {} and aligned.notes[0].startswith(f"t1 was not moved: {reason}")
    assert aligned.sequences["t1"].geometry.shape == other.geometry.shape


def test_a_registration_is_cancelled_between_two_iterations() -> None:
    calls: list[Any] = []

    def cancel_at_the_eighth(*arguments: Any) -> bool:
        calls.append(arguments)
        return len(calls) < 8

    pair = {"t1": brain("t1"), "t2": moved(brain("t2"), MOTIONS["turned"])}
    with pytest.raises(InferenceCancelled):
        align_sequences(pair, "t1", "rigid", cancel_at_the_eighth)
    assert len(calls) == 8 and calls[0] == (0, 1, "t2 to t1")


# ── refused ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_no_gray_volume_in_millimeters_is_refused_before_any_work() -> None:
    good = brain("t1")
    uncalibrated = VolumeGeometry(GRID.shape, GRID.ijk_to_ras, is_calibrated=False)
    bad = {
        "t2 has 1 values that are NaN": good.with_array(good.array.astype(np.float32)),
        "t2 has 2 channels": Volume(np.repeat(good.array, 2, axis=0), GRID),
        "t2 states no voxel size": Volume(good.array, uncalibrated),
    }
    bad["t2 has 1 values that are NaN"].array[0, 0, 0, 0] = np.nan
    for message, volume in bad.items():
        with pytest.raises(IncompatibleInputError, match=message):
            align_sequences({"t1": good, "t2": volume}, "t1")


def test_an_unknown_reference_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 't1'"):
        align_sequences({"t1": brain("t1")}, "t1w")


def test_one_sequence_alone_needs_nothing() -> None:
    only = {"t1": brain("t1")}
    assert align_sequences(only, "t1", "rigid") == Aligned(only, {}, [])
