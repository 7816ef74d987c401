"""Graph: named arrays in, named arrays out, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import BundleError

Arrays = dict[str, NDArray[Any]]


class Graph(Protocol):
    """An exported network that is ready to run."""

    @property
    def runtime(self) -> str:
        """Name and version, e.g. `openvino 2026.4.1`."""

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Run once; the arrays are the caller's to keep.

        Raises:
            BundleError: the graph does not take these inputs.
        """


def checked(outputs: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An output of a graph.

    Raises:
        BundleError: it is missing, of another shape, or not finite.
    """
    if name not in outputs:
        raise BundleError(f"The graph gives {', '.join(outputs)}; `{name}` is needed. Restore the bundle.")
    array = np.asarray(outputs[name], dtype=np.float32)
    if array.shape != shape:
        raise BundleError(f"The graph gives {name} of {array.shape}; {shape} is needed. Restore the bundle.")
    if not np.isfinite(array).all():
        raise BundleError("The graph gives NaN or infinite values. Choose precision fp32, or restore the bundle.")
    return array


def unreadable(runtime: str, error: Exception) -> BundleError:
    """The graph cannot be loaded."""
    return BundleError(f"{runtime} cannot read the graph ({_last_line(error)}). Restore the bundle.")


def misfit(inputs: Mapping[str, NDArray[np.float32]], error: Exception) -> BundleError:
    """The graph cannot be run on these inputs."""
    came = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
    return BundleError(f"The graph does not take {came}, as its card says ({_last_line(error)}). Restore the bundle.")


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip().rstrip(".")
