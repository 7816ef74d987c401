"""Rigid registration of two gray volumes of one patient, by SimpleITK.

Mutual information (Mattes et al. 2003, IEEE TMI 22(1):120) over three resolutions; regular step gradient descent with
scales from physical shift. Points are sampled regularly with a fixed seed and summed by one thread, so that the same
images give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.processing.brain import bounding_box
from leanseg.processing.grid import Crop, Resample
from leanseg.volume import Volume, VolumeGeometry

MIN_SLICES = 5
"""With fewer along any axis a rotation is hardly determined."""
_LEVELS_MM = (4.0, 2.0, 1.0)
_MARGIN_MM = 12.0  # around what is above 0 in the fixed image: its outline is worth most
_MAX_SAMPLES = 60_000
_BINS = 32
_NEAR_MM = 5.0  # two starts that are nearer than this lead to the same place
_MIN_GAIN = 1e-3  # of the metric; less is chance

Matrix = NDArray[np.float64]


class NotRegistered(Exception):
    """Why two images cannot be registered, or need not be: a phrase."""


def register(fixed: Volume, moving: Volume, check_cancelled: Callable[[], None]) -> Matrix:
    """4 x 4, RAS in mm of the fixed image -> RAS of the moving one.

    Starts where the headers put the images, and also with their centers of mass laid upon each other; the better end
    is taken, if it is better than the headers.

    Args:
        fixed: (1, k, j, i), finite, as `moving`; the grids may differ.
        check_cancelled: called after every iteration; what it raises ends the registration.

    Raises:
        NotRegistered: too few slices, a constant image, or nothing better found.
    """
    for volume in (fixed, moving):
        if min(volume.geometry.shape) < MIN_SLICES:
            raise NotRegistered(f"{min(volume.geometry.shape)} slices are too few to register; {MIN_SLICES} are needed")
        if volume.array.min() == volume.array.max():
            raise NotRegistered("every value of one image is the same")
    fixed = _around_foreground(fixed)
    center = center_of_mass(fixed)
    to_center = center_of_mass(moving) - center
    pairs = [_Pair(fixed, moving, mm, center, check_cancelled) for mm in _LEVELS_MM]
    starts = [(0.0,) * 6]
    if np.linalg.norm(to_center) > _NEAR_MM:
        starts.append((0.0, 0.0, 0.0, *to_center))
    parameters = min((pairs[0].improved(start) for start in starts), key=pairs[0].metric)
    for pair in pairs[1:]:
        parameters = pair.improved(parameters)
    if not pairs[-1].metric(parameters) < pairs[-1].metric(starts[0]) - _MIN_GAIN:
        raise NotRegistered("rigid registration found no better place")
    return pairs[-1].matrix(parameters)


def _around_foreground(volume: Volume) -> Volume:
    mask = np.asarray(volume.array[0] > 0)
    if not mask.any():
        return volume
    box = bounding_box(mask, volume.geometry)
    start, shape = [0, 0, 0], [0, 0, 0]
    for axis, mm in enumerate(volume.geometry.spacing_kji_mm):
        margin = int(np.ceil(_MARGIN_MM / mm))
        start[axis] = max(0, box.start_kji[axis] - margin)
        stop = min(volume.geometry.shape[axis], box.start_kji[axis] + box.shape_kji[axis] + margin)
        shape[axis] = stop - start[axis]
    return Crop(volume.geometry, (start[0], start[1], start[2]), (shape[0], shape[1], shape[2])).apply(volume)


def center_of_mass(volume: Volume) -> Matrix:
    """(3,) mm RAS, weighted by the values above 0."""
    weights = np.maximum(volume.array[0], 0).astype(np.float32)
    kji = []
    for axis in range(3):
        profile = weights.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        kji.append(float((profile * np.arange(profile.size)).sum() / max(profile.sum(), 1e-12)))
    return volume.geometry.ras_of(np.array(kji[::-1]))


class _Pair:
    """Fixed and moving image at one resolution."""

    def __init__(
        self, fixed: Volume, moving: Volume, mm: float, center: Matrix, check_cancelled: Callable[[], None]
    ) -> None:
        check_cancelled()
        self._fixed, self._moving = (as_image(*_coarse(volume, mm)) for volume in (fixed, moving))
        self._mm, self._center, self._check_cancelled = mm, center, check_cancelled

    def improved(self, parameters: Iterable[float]) -> tuple[float, ...]:
        """Three angles and a translation, from such ones; as they were where the images do not overlap."""
        import SimpleITK as sitk

        method, transform = self._method(parameters)
        method.SetInitialTransform(transform, inPlace=True)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=self._mm,
            minStep=self._mm / 1000,
            numberOfIterations=200,
            relaxationFactor=0.7,  # with 0.5 the steps are small before a turn of a nearly round head is found
            gradientMagnitudeTolerance=1e-9,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        cancelled: list[BaseException] = []

        def after_iteration() -> None:
            try:
                self._check_cancelled()
            except BaseException as error:  # ITK would swallow it: carried past it, and raised again
                cancelled.append(error)
                method.StopRegistration()

        method.AddCommand(sitk.sitkIterationEvent, after_iteration)
        try:
            with _one_thread():
                method.Execute(self._fixed, self._moving)
        except RuntimeError:  # no sample of one lies in the other
            return tuple(parameters)
        finally:
            method.RemoveAllCommands()
        if cancelled:
            raise cancelled[0]
        return tuple(transform.GetParameters())

    def metric(self, parameters: Iterable[float]) -> float:
        """Negative mutual information; infinite where the images do not overlap."""
        method, transform = self._method(parameters)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            with _one_thread():
                return float(method.MetricEvaluate(self._fixed, self._moving))
        except RuntimeError:
            return np.inf

    def matrix(self, parameters: Iterable[float]) -> Matrix:
        _, transform = self._method(parameters)
        result = np.eye(4)
        result[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
        result[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
        return result

    def _method(self, parameters: Iterable[float]) -> tuple[Any, Any]:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(min(1.0, _MAX_SAMPLES / self._fixed.GetNumberOfPixels()), seed=1)
        method.SetMetricUseFixedImageGradientFilter(False)  # central differences: as accurate, and 2.6 times as fast
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetInterpolator(sitk.sitkLinear)
        transform = sitk.Euler3DTransform()
        transform.SetCenter(self._center.tolist())
        transform.SetParameters(tuple(parameters))
        return method, transform


@contextmanager
def _one_thread() -> Iterator[None]:
    """Metric and optimizer know only the number of the whole process, so it is put back at once."""
    import SimpleITK as sitk

    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _coarse(volume: Volume, mm: float) -> tuple[NDArray[np.float32], VolumeGeometry]:
    """(k, j, i) in voxels of about `mm`, or as they are where they are larger."""
    shape = [
        min(n, max(MIN_SLICES, round(n * own / mm)))
        for n, own in zip(volume.geometry.shape, volume.geometry.spacing_kji_mm, strict=True)
    ]
    resampled = Resample(volume.geometry, (shape[0], shape[1], shape[2])).apply(volume)
    return np.asarray(resampled.array[0], dtype=np.float32), resampled.geometry


def as_image(array: NDArray[np.float32], geometry: VolumeGeometry) -> Any:
    """(k, j, i) -> SimpleITK.Image whose physical space is RAS, not LPS: nothing but registration sees it."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    origin, spacing, direction = frame_of(geometry)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    return image


def frame_of(geometry: VolumeGeometry) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing (i, j, k) and direction (row by row) for SimpleITK, in RAS."""
    axes = geometry.ijk_to_ras[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    return geometry.ijk_to_ras[:3, 3].tolist(), spacing.tolist(), (axes / spacing).ravel().tolist()
