import numpy as np
import pytest
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.processing.brain_extraction import rough_brain_mask, strip
from leanseg.processing.plausibility import looks_stripped
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import voxel_centers
from Testing.engine.processing.brain_phantom import GRID, RADII_MM, VALUES, centered, tissues

FAT = {"flair": 110, "t1ce": 230, "t1": 230, "t2": 150}
HEAD = centered((70, 90, 80), (2.5, 2.5, 2.5))


def head(name: str, geometry: VolumeGeometry = HEAD) -> Volume:
    """The phantom brain in 3 mm of fluid, 7 mm of dark bone and 6 mm of bright scalp, with two nerves through the bone
    and noise in the air."""
    found = tissues(geometry)
    place = voxel_centers(geometry) - GRID.ras_of((np.array(GRID.shape[::-1]) - 1) / 2)
    outwards = (np.linalg.norm(place / RADII_MM, axis=-1) - 1) * RADII_MM.mean()
    gray = np.array((0, *VALUES[name]), dtype=float)[found]
    gray[(outwards > 0) & (outwards <= 3)] = VALUES[name][0]
    gray[(outwards > 3) & (outwards <= 10)] = 12
    gray[(outwards > 10) & (outwards <= 16)] = FAT[name]
    for side in (-20, 20):
        nerve = np.hypot(place[..., 0] - side, place[..., 2] + 20) < 3
        gray[nerve & (place[..., 1] > 0) & (outwards > 0) & (outwards <= 12)] = VALUES[name][2]
    gray += np.random.default_rng(0).normal(0, 4, geometry.shape)
    return Volume(np.maximum(np.abs(gray), 1).astype(np.int16)[np.newaxis], geometry)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("name", VALUES)
def test_the_brain_of_a_head_is_found_roughly(name: str) -> None:
    mask = rough_brain_mask(head(name))
    brain = tissues(HEAD) > 0
    assert mask.shape == HEAD.shape and np.mean(mask[brain]) > 0.95  # 3 mm of fluid around it are 14 %
    assert np.count_nonzero(mask & ~brain) < 0.3 * np.count_nonzero(brain)
    outwards = np.linalg.norm((voxel_centers(HEAD) - voxel_centers(HEAD).mean(axis=(0, 1, 2))) / RADII_MM, axis=-1)
    assert not mask[outwards > 1.2].any()  # 13 mm and more: the scalp


@pytest.mark.parametrize("geometry", [centered((35, 110, 100), (5, 2, 2)), centered((1, 90, 80), (5, 2.5, 2.5))])
def test_thick_slices_and_a_single_one_pass(geometry: VolumeGeometry) -> None:
    assert dice(rough_brain_mask(head("t1", geometry)), tissues(geometry) > 0) > 0.9


def test_strip_sets_everything_else_to_0_in_all_sequences_alike() -> None:
    sequences = {name: head(name) for name in VALUES}
    stripped = strip(sequences)
    mask = stripped["t1"].array > 0
    assert dice(mask[0], tissues(HEAD) > 0) > 0.9
    for name, volume in stripped.items():
        assert volume.array.dtype == np.int16 and volume.geometry is HEAD and looks_stripped(volume)
        np.testing.assert_array_equal(volume.array, np.where(mask, sequences[name].array, 0))


def test_stripped_brains_come_back_as_they_are() -> None:
    bare = Volume((head("t1").array * (tissues(HEAD) > 0)).astype(np.int16), HEAD)
    assert strip({"t1": bare})["t1"] is bare
    np.testing.assert_array_equal(rough_brain_mask(bare), tissues(HEAD) > 0)


def test_noise_without_a_head_is_refused() -> None:
    noise = Volume(np.random.default_rng(0).integers(1, 200, (1, *GRID.shape)), GRID)
    with pytest.raises(IncompatibleInputError, match="No brain was found inside a head"):
        rough_brain_mask(noise)
    with pytest.raises(IncompatibleInputError, match="t1: No brain was found"):
        strip({"t1": noise})
