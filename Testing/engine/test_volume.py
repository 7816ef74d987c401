import numpy as np
import pytest
from hypothesis import given

from leanseg.errors import IncompatibleInputError
from leanseg.volume import Volume, VolumeGeometry
from Testing.engine.geometries import geometries


def test_spacing_comes_in_the_order_of_the_array() -> None:
    geometry = VolumeGeometry((2, 3, 4), np.diag([-0.5, 0.7, 3.0, 1.0]))
    assert geometry.spacing_kji_mm == (3.0, 0.7, 0.5)


def test_ras_of_takes_i_j_k() -> None:
    matrix = np.diag([-1.0, -2.0, 3.0, 1.0])
    matrix[:3, 3] = 10, 20, 30
    np.testing.assert_allclose(VolumeGeometry((9, 9, 9), matrix).ras_of(np.array([1, 2, 3])), [9, 16, 39])


@given(geometries())
def test_is_close_to_notices_a_shift_and_nothing_else(geometry: VolumeGeometry) -> None:
    shifted = geometry.ijk_to_ras.copy()
    shifted[0, 3] += 0.01
    assert geometry.is_close_to(VolumeGeometry(geometry.shape, geometry.ijk_to_ras.copy()))
    assert not geometry.is_close_to(VolumeGeometry(geometry.shape, shifted))
    assert geometry.is_close_to(VolumeGeometry(geometry.shape, shifted), tolerance_mm=0.02)
    k, j, i = geometry.shape
    assert not geometry.is_close_to(VolumeGeometry((k + 1, j, i), geometry.ijk_to_ras))


@pytest.mark.parametrize("spacing", [1e-5, 1e3])
def test_tiny_and_huge_voxels_are_sound(spacing: float) -> None:
    geometry = VolumeGeometry((1, 2, 2), np.diag([spacing, spacing, spacing, 1]))
    assert geometry.spacing_kji_mm == pytest.approx((spacing,) * 3)


@pytest.mark.parametrize(
    ("shape", "matrix", "words"),
    [
        ((1, 1, 1), np.eye(3), "4 x 4"),
        ((1, 1, 1), np.diag([1, 1, np.nan, 1]), "finite"),
        ((1, 1, 1), np.diag([1, 0, 1, 1]), "degenerate"),
        ((1, 1, 1), np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "degenerate"),
        ((0, 1, 1), np.eye(4), "at least one voxel"),
        ((1, 1), np.eye(4), "at least one voxel"),
    ],
)
def test_impossible_grids_are_refused(shape: tuple[int, ...], matrix: np.ndarray, words: str) -> None:
    with pytest.raises(IncompatibleInputError, match=words):
        VolumeGeometry(shape, matrix)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 3, 5), (1, 4, 3, 2)])
def test_array_must_lie_on_its_geometry(shape: tuple[int, ...]) -> None:
    with pytest.raises(IncompatibleInputError, match=r"\(channel, k, j, i\)"):
        Volume(np.zeros(shape), VolumeGeometry((2, 3, 4)))


def test_with_array_keeps_the_grid() -> None:
    volume = Volume(np.zeros((1, 2, 3, 4)), VolumeGeometry((2, 3, 4), np.diag([1.0, 2, 3, 1]), False))
    other = volume.with_array(np.ones((5, 2, 3, 4)))
    assert other.geometry is volume.geometry and other.array.shape[0] == 5
