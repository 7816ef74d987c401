"""Where the pixels of a DICOM image lie: from the header to RAS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import IncompatibleInputError
from leanseg.files.itk import LPS_TO_RAS
from leanseg.volume import VolumeGeometry

if TYPE_CHECKING:
    from pydicom import Dataset

Vector = NDArray[np.float64]

_TISSUE = 1  # Region Spatial Format: 2D
_CENTIMETERS = 3  # Physical Units X and Y Direction
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_UNEVEN = 0.01  # part of the slice step by which positions may differ; headers round to 1e-3 mm or so


def geometry_of(header: Dataset, shape_kji: tuple[int, ...]) -> VolumeGeometry:
    """Place of the voxels of one file.

    A file with a position and orientation lies there. One without (ultrasound, photographs) lies at the origin, i to
    the left and j to the back, as ITK and Slicer place it. Frames of a clip are 1 apart along k.

    Args:
        header: of the file, without its pixels.
        shape_kji: frames, rows, columns.

    Raises:
        IncompatibleInputError: the frames have positions, but no even stack.
    """
    k, j, i = shape_kji
    spacing_ji = _ultrasound_spacing(header) or _pixel_spacing(header)
    step_j, step_i = spacing_ji or (1.0, 1.0)
    ijk_to_lps = np.diag([step_i, step_j, 1.0, 1.0])
    axes = _axes(header)
    positions = _positions(header)
    if axes is not None and positions and spacing_ji is not None:
        row, column = axes
        ijk_to_lps[:3, 0], ijk_to_lps[:3, 1] = row * step_i, column * step_j
        ijk_to_lps[:3, 2] = _slice_step(header, positions, np.cross(row, column), k)
        ijk_to_lps[:3, 3] = positions[0]
    return VolumeGeometry((k, j, i), LPS_TO_RAS @ ijk_to_lps, is_calibrated=spacing_ji is not None)


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    """(j, i) in mm of the largest 2-D tissue region, or None; all of the image is taken to have it."""
    best, largest = None, 0.0
    for region in _items(header, "SequenceOfUltrasoundRegions"):
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        corners = [_numbers(region, f"RegionLocation{name}", 1) for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        deltas = [_numbers(region, f"PhysicalDelta{name}", 1) for name in ("Y", "X")]
        if region.get("RegionSpatialFormat") != _TISSUE or units != (_CENTIMETERS, _CENTIMETERS):
            continue
        values = [float(v[0]) for v in (*corners, *deltas) if v is not None]
        if len(values) < 6 or not values[4] or not values[5]:
            continue
        x0, y0, x1, y1, delta_y, delta_x = values
        area = (x1 - x0 + 1) * (y1 - y0 + 1)
        if area > largest:
            best, largest = (abs(delta_y) * 10, abs(delta_x) * 10), area
    return best


def _pixel_spacing(header: Dataset) -> tuple[float, float] | None:
    """(j, i) in mm, or None."""
    for place in (header, *_functional_groups(header, "PixelMeasuresSequence")):
        for name in _SPACINGS:
            spacing = _numbers(place, name, 2)
            if spacing is not None and spacing.min() > 0:
                return float(spacing[0]), float(spacing[1])
    return None


def _axes(header: Dataset) -> tuple[Vector, Vector] | None:
    """Unit vectors in LPS along i and j, or None where there are none, or parallel ones."""
    for place in (header, *_functional_groups(header, "PlaneOrientationSequence")):
        cosines = _numbers(place, "ImageOrientationPatient", 6)
        if cosines is None:
            continue
        row, column = cosines[:3], cosines[3:]
        lengths = np.linalg.norm(row), np.linalg.norm(column)
        if min(lengths) > 0 and np.linalg.norm(np.cross(row, column)) > 0.5 * lengths[0] * lengths[1]:
            return row / lengths[0], column / lengths[1]
    return None


def _positions(header: Dataset) -> list[Vector]:
    """Of the first pixel in LPS, mm: one for the file, or one for each frame."""
    places = [header] if "ImagePositionPatient" in header else _functional_groups(header, "PlanePositionSequence")
    found = [_numbers(place, "ImagePositionPatient", 3) for place in places]
    return [position for position in found if position is not None]


def _slice_step(header: Dataset, positions: list[Vector], normal: Vector, n_frames: int) -> Vector:
    """From one slice to the next in LPS, mm."""
    if n_frames == 1:
        thickness = [_numbers(header, name, 1) for name in ("SpacingBetweenSlices", "SliceThickness")]
        stated = [abs(float(v[0])) for v in thickness if v is not None and v[0] != 0]
        return np.asarray(normal * (stated[0] if stated else 1.0))
    places = np.array(positions)
    if len(places) == 1 or np.allclose(places, places[0], atol=1e-3):
        return normal  # frames in time at one place
    step = np.asarray((places[-1] - places[0]) / (n_frames - 1))
    even = places[0] + np.arange(len(places))[:, None] * step
    tolerance = max(_UNEVEN * float(np.linalg.norm(step)), 1e-3)
    if len(places) != n_frames or abs(float(step @ normal)) < 1e-6 or np.abs(places - even).max() > tolerance:
        raise IncompatibleInputError(
            f"its {n_frames} frames do not lie in one even stack (several times, or gaps). Load it in Slicer and save "
            "one volume as .nrrd."
        )
    return step


def _functional_groups(header: Dataset, name: str) -> list[Dataset]:
    """The macro `name` of an enhanced multi-frame file: shared by all frames, or of each frame."""
    groups = [*_items(header, "SharedFunctionalGroupsSequence"), *_items(header, "PerFrameFunctionalGroupsSequence")]
    return [macro for group in groups for macro in _items(group, name)[:1]]


def _items(header: Dataset, name: str) -> list[Dataset]:
    return list(header.get(name) or [])


def _numbers(header: Dataset, name: str, count: int) -> Vector | None:
    """`count` finite numbers of a header field, or None."""
    try:
        values = np.array(header.get(name), dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None
