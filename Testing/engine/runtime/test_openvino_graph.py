import sys

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from leanseg.errors import BundleError, MissingDependencyError
from leanseg.runtime.onnxruntime_graph import ONNXRuntimeGraph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from Testing.engine.tiny import GAIN, LEVEL, SIZE_JI, dark_is_lesion


def random_image(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((1, 1, *SIZE_JI), dtype=np.float32)


def expected(image: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(image[0, 0].astype(np.float64), 1)
    height, width = image.shape[2:]
    mean = sum(padded[j : j + height, i : i + width] for j in range(3) for i in range(3)) / 9
    return np.asarray(1 / (1 + np.exp(-GAIN * (LEVEL - mean))))


def test_it_computes_what_the_graph_says() -> None:
    image = random_image()
    result = OpenVINOGraph(dark_is_lesion())({"image": image})
    assert list(result) == ["probabilities"] and result["probabilities"].dtype == np.float32
    np.testing.assert_allclose(result["probabilities"][0, 0], expected(image), atol=1e-5)


def test_both_runtimes_agree() -> None:
    onnx_file, image = dark_is_lesion(), random_image(1)
    openvino, onnxruntime = (graph(onnx_file)({"image": image}) for graph in (OpenVINOGraph, ONNXRuntimeGraph))
    np.testing.assert_allclose(openvino["probabilities"], onnxruntime["probabilities"], rtol=0, atol=1e-5)
    assert np.ptp(openvino["probabilities"]) > 0.5, "a constant agrees with anything"


def test_a_result_belongs_to_the_caller() -> None:
    graph = OpenVINOGraph(dark_is_lesion())
    first = graph({"image": random_image(1)})["probabilities"]
    kept = first.copy()
    second = graph({"image": random_image(2)})["probabilities"]
    assert np.array_equal(first, kept) and not np.array_equal(first, second)


def test_one_thread_gives_the_same() -> None:
    image = random_image()
    one, any_number = (OpenVINOGraph(dark_is_lesion(), threads=n)({"image": image}) for n in (1, None))
    np.testing.assert_allclose(one["probabilities"], any_number["probabilities"], atol=1e-6)


def test_it_says_what_runs() -> None:
    assert OpenVINOGraph(dark_is_lesion()).runtime.startswith("openvino 20")


@pytest.mark.parametrize("graph", [b"", b"garbage" * 20, dark_is_lesion()[:150]])
def test_a_graph_that_is_none_is_told_in_one_line(graph: bytes) -> None:
    with pytest.raises(BundleError, match=r"OpenVINO cannot read the graph \(.+\)\. Restore the bundle\.$") as caught:
        OpenVINOGraph(graph)
    assert "\n" not in str(caught.value)


def test_an_operator_that_it_does_not_know_is_told_in_one_line() -> None:
    model = onnx.load_from_string(dark_is_lesion())
    model.graph.node[0].op_type = "Divine"
    with pytest.raises(BundleError, match="OpenVINO cannot read the graph") as caught:
        OpenVINOGraph(model.SerializeToString())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inputs", [{"image": (1, 1, 32, 64)}, {"image": (1, 2, 64, 64)}, {"picture": (1, 1, 64, 64)}])
def test_inputs_that_do_not_fit_are_told_in_one_line(inputs: dict[str, tuple[int, ...]]) -> None:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    with pytest.raises(BundleError, match=r"graph does not take (image|picture) \(1, .*Restore the bundle") as caught:
        OpenVINOGraph(dark_is_lesion())(arrays)
    assert "\n" not in str(caught.value)


def test_without_openvino_it_says_how_to_install_it_without_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps openvino"):
        OpenVINOGraph(dark_is_lesion())
