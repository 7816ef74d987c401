"""ONNX Runtime on the CPU: the light fallback where OpenVINO has no wheel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import MissingDependencyError
from leanseg.runtime.graph import Arrays, misfit, unreadable


class ONNXRuntimeGraph:
    """The same ONNX file as OpenVINO runs."""

    def __init__(self, onnx: bytes) -> None:
        """Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        BundleError: the graph cannot be read.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError("ONNX Runtime is not installed. Run: pip install onnxruntime.") from error
        try:
            self._session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception types are not public
            raise unreadable("ONNX Runtime", error) from error
        self._names = [output.name for output in self._session.get_outputs()]
        self._version = onnxruntime.__version__

    @property
    def runtime(self) -> str:
        return f"onnxruntime {self._version}"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        try:
            results = self._session.run(self._names, dict(inputs))
        except Exception as error:  # as above
            raise misfit(inputs, error) from error
        return dict(zip(self._names, results, strict=True))
