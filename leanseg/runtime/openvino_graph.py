"""OpenVINO on the CPU: the default runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.errors import MissingDependencyError
from leanseg.runtime.graph import Arrays, misfit, unreadable


class OpenVINOGraph:
    """An ONNX graph compiled for this CPU."""

    def __init__(self, onnx: bytes, threads: int | None = None, shape: tuple[int, ...] | None = None) -> None:
        """`threads`: at most this many; None leaves the choice to OpenVINO.
        `shape`: of `image`, if the graph leaves it open and all calls have this one; known shapes run faster.

        Raises:
            MissingDependencyError: OpenVINO is not installed.
            BundleError: the graph cannot be read.
        """
        try:
            import openvino
        except ImportError as error:
            raise MissingDependencyError(
                "OpenVINO is not installed. Install it without its telemetry: pip install --no-deps openvino."
            ) from error
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # by default it rounds to bf16 where the CPU can: other results
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        try:
            model = core.read_model(onnx)
            if shape is not None:
                model.reshape({"image": list(shape)})
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise unreadable("OpenVINO", error) from error
        self._request = self._compiled.create_infer_request()
        self._version = openvino.__version__.split("-")[0]

    @property
    def runtime(self) -> str:
        return f"openvino {self._version}"

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
        try:
            results = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise misfit(inputs, error) from error
        return {output.get_any_name(): np.array(results[output]) for output in self._compiled.outputs}
