"""Random voxel grids for property tests: any spacing, position, rotation, flip and order of axes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from leanseg.volume import Volume, VolumeGeometry


@st.composite
def directions(draw: st.DrawFn) -> NDArray[np.float64]:
    """3 x 3 orthonormal, columns are axes; determinant 1 or -1."""
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0, 0, 0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    flips = np.diag(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    return (rotation @ flips)[:, list(draw(st.permutations(range(3))))]


@st.composite
def geometries(draw: st.DrawFn, max_side: int = 8) -> VolumeGeometry:
    spacing = np.array(draw(st.tuples(*[st.floats(0.05, 10)] * 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = draw(directions()) * spacing
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return VolumeGeometry(draw(st.tuples(*[st.integers(1, max_side)] * 3)), matrix)


def numbered(geometry: VolumeGeometry, channels: int = 1) -> Volume:
    """Every voxel has its own value, from 1; float32."""
    shape = (channels, *geometry.shape)
    return Volume(np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape), geometry)


def voxel_centers(geometry: VolumeGeometry) -> NDArray[np.float64]:
    """(k, j, i, 3): mm, RAS."""
    k, j, i = np.indices(geometry.shape)
    return geometry.ras_of(np.stack([i, j, k], axis=-1))


def indices_of(geometry: VolumeGeometry, ras: NDArray[np.float64]) -> NDArray[np.float64]:
    """RAS (..., 3) -> continuous (..., 3) in the order k, j, i."""
    inverse = np.linalg.inv(geometry.ijk_to_ras)
    return (ras @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1]


def farthest_corner_mm(a: VolumeGeometry, b: VolumeGeometry) -> float:
    """Largest distance between the outer corners of two grids of one shape."""
    corners = np.array([[(n - 0.5 if far else -0.5) for n, far in zip(a.shape[::-1], corner, strict=True)]
                        for corner in np.ndindex(2, 2, 2)])  # fmt: skip
    return float(np.linalg.norm(a.ras_of(corners) - b.ras_of(corners), axis=1).max())
