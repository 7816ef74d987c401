"""A tiny text-guided network as graphs."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from leanseg.errors import LeanSegError
from leanseg.losses.evidential import dirichlet
from leanseg.networks import build_network
from leanseg.networks.text_bcs import TextBCS
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import without_traces
from leanseg.training.text_graphs import TextSamples, check_exportable, prompted_graphs, run_graphs

CONFIG: dict[str, Any] = {
    "dropout": 0.0,
    "widths": (8, 12, 16),
    "in_channels": 1,
    "stages": (1, 2),
    "attention_widths": (16, 16),
    "text_width": 6,
    "text_length": 5,
    "grid": 4,
    "feeds": "skips",
    "hints": 4,
    "existence": True,
}
TEMPERATURE = 2.0


@pytest.fixture(scope="module")
def samples() -> TextSamples:
    generator = torch.Generator().manual_seed(2)
    hints = torch.zeros(3, 4, 32, 48)
    hints[0, 0, 3:8, 5:9], hints[1, 1, 20:24, 30:40], hints[1, 3, 10:20] = 1.0, 1.0, 1.0
    return TextSamples(
        torch.rand(3, 1, 32, 48, generator=generator),
        torch.randn(3, 5, 6, generator=generator),
        torch.arange(5)[None] >= torch.tensor([[4], [2], [5]]),
        hints,
        torch.zeros(3, 1, 32, 48, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def network(samples: TextSamples) -> TextBCS:
    """With gates that are open and statistics of the samples, so that its features are of the size of 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network("text_bcs", CONFIG)
    assert isinstance(network, TextBCS)
    for stage in network.interactions.values():
        nn.init.constant_(stage.gate, 0.7)
    network.train()
    with torch.no_grad():
        for _ in range(40):
            network(samples.images, samples.tokens, samples.padding, samples.hints)
        network.head.weight.mul_(4)
    return network.eval()


@pytest.fixture(scope="module")
def graphs(network: TextBCS, samples: TextSamples) -> dict[str, bytes]:
    return prompted_graphs(network, TEMPERATURE, samples)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 5e-3), ("int8", 0.08)])
def test_the_graphs_give_what_torch_gives(
    network: TextBCS, samples: TextSamples, graphs: dict[str, bytes], precision: str, tolerance: float
) -> None:
    image, prompt = (OpenVINOGraph(graphs[f"{part}_{precision}"], threads=1) for part in ("image", "prompt"))
    for n, inputs in enumerate(samples.inputs()):
        with torch.no_grad():
            output = network(
                *(part[n : n + 1] for part in (samples.images, samples.tokens, samples.padding, samples.hints))
            )
            alpha, probability, _, vacuity = dirichlet(output.logits / TEMPERATURE)
        result = run_graphs(image, prompt, inputs)
        assert [result[name].shape for name in ("uncertainty", "existence")] == [(1, 1, 32, 48), (1, 1)]
        np.testing.assert_allclose(result["probabilities"], probability[:, 1:], atol=tolerance, rtol=0)
        np.testing.assert_allclose(result["uncertainty"], vacuity, atol=tolerance, rtol=0)
        np.testing.assert_allclose(result["existence"][0], torch.sigmoid(output.existence), atol=tolerance, rtol=0)
        assert probability[:, 1].std() > 0.02 and alpha.max() > 1.2, "a picture without contrast agrees with anything"


def test_a_prompt_and_a_hint_change_the_answer_of_the_same_features(
    samples: TextSamples, graphs: dict[str, bytes]
) -> None:
    image, prompt = (OpenVINOGraph(graphs[f"{part}_int8"], threads=1) for part in ("image", "prompt"))
    first, second, _ = samples.inputs()
    expected = run_graphs(image, prompt, first)["probabilities"]
    for name in ("tokens", "hints"):
        changed = run_graphs(image, prompt, {**first, name: second[name]})["probabilities"]
        assert np.abs(changed - expected).max() > 1e-3


def test_int8_is_convolutions_and_the_rest_is_stored_as_half(graphs: dict[str, bytes]) -> None:
    for name, data in graphs.items():
        model = onnx.load_model_from_string(data)
        kinds = {onnx.TensorProto.DataType.Name(t.data_type) for t in model.graph.initializer if np.prod(t.dims) > 64}
        assert "FLOAT" not in kinds and ("INT8" in kinds) == name.endswith("int8")
        assert without_traces(onnx.load_model_from_string(data)) == model
    nodes = onnx.load_model_from_string(graphs["prompt_int8"]).graph.node
    head = next(node for node in nodes if "network.head.weight" in node.input)
    assert head.op_type == "Conv", "the head reads its weights as they are"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"feeds": "encoder"}, 'feeds="skips"'),
        ({"existence": False}, "existence"),
        ({"hints": 0, "evidential": False}, "hints, evidential"),
        ({"text": False}, "text"),
    ],
)
def test_a_network_without_what_the_graphs_need_is_refused(change: dict[str, Any], missing: str) -> None:
    with pytest.raises(LeanSegError, match=f"needs a text_bcs with {missing}; this run has none"):
        check_exportable(build_network("text_bcs", CONFIG | change))


def test_another_network_is_refused() -> None:
    with pytest.raises(LeanSegError, match="got a AttentionUNet"):
        check_exportable(build_network("attention_unet", {}))
