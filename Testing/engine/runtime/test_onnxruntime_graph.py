import sys

import numpy as np
import pytest

from leanseg.errors import BundleError, MissingDependencyError
from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph
from Testing.engine.tiny import SIZE_JI, dark_is_lesion


def test_black_is_lesion_and_white_is_not() -> None:
    graph = ONNXRuntimeGraph(dark_is_lesion())
    black, white = (graph({"image": np.full((1, 1, *SIZE_JI), value, np.float32)}) for value in (0, 1))
    assert black["probabilities"].min() > 0.99
    assert white["probabilities"][0, 0, 1:-1, 1:-1].max() < 0.01
    assert graph.runtime.startswith("onnxruntime 1.")


@pytest.mark.parametrize("graph", [b"", b"garbage" * 20, dark_is_lesion()[:150]])
def test_a_graph_that_is_none_is_told_in_one_line(graph: bytes) -> None:
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot read the graph \(.+\)\. Restore") as caught:
        ONNXRuntimeGraph(graph)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inputs", [{"image": (1, 1, 32, 64)}, {"picture": (1, 1, 64, 64)}])
def test_inputs_that_do_not_fit_are_told_in_one_line(inputs: dict[str, tuple[int, ...]]) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    with pytest.raises(BundleError, match=r"graph does not take (image|picture) \(1, 1, \d+, 64\)") as caught:
        ONNXRuntimeGraph(dark_is_lesion())(arrays)
    assert "\n" not in str(caught.value)


def test_without_it_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime"):
        ONNXRuntimeGraph(dark_is_lesion())
