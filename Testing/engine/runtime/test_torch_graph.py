from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from leanseg.errors import BundleError, MissingDependencyError
from leanseg.networks import build_network
from leanseg.runtime.torch_graph import TorchGraph
from leanseg.weights.bundle import Bundle, write_bundle
from Testing.engine.tiny import CARD

CONFIG = {"widths": [4, 8]}


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network("attention_unet", CONFIG).eval()
    network.load_state_dict(network.state_dict() | {"head.weight": torch.full((1, 4, 1, 1), 20.0)})  # sees contrast
    return network


@pytest.fixture
def bundle(network: torch.nn.Module, tmp_path: Path) -> Bundle:
    weights = safetensors.torch.save(network.state_dict())
    return write_bundle(replace(CARD, config=CONFIG, temperature=2.0), {"fp32": b"unused"}, weights, tmp_path / "tiny")


def changed(bundle: Bundle, **changes: object) -> Bundle:
    return replace(bundle, card=replace(bundle.card, **changes))  # type: ignore[arg-type]


def test_it_is_the_network_with_temperature_and_sigmoid(network: torch.nn.Module, bundle: Bundle) -> None:
    image = np.random.default_rng(0).random((1, 1, 32, 48), dtype=np.float32)
    with torch.no_grad():
        expected = torch.sigmoid(network(torch.from_numpy(image)) / 2.0).numpy()
    graph = TorchGraph(bundle, "cpu")
    np.testing.assert_allclose(graph({"image": image})["probabilities"], expected, rtol=0, atol=1e-6)
    assert np.ptp(expected) > 1e-3, "a constant agrees with anything"
    assert graph.runtime == f"torch {torch.__version__}"


def test_weights_stored_as_float16_are_computed_in_float32(network: torch.nn.Module, tmp_path: Path) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()}
    card = replace(CARD, config=CONFIG)
    bundle = write_bundle(card, {"fp32": b"unused"}, safetensors.torch.save(half), tmp_path / "tiny")
    image = np.random.default_rng(0).random((1, 1, 32, 32), dtype=np.float32)
    with torch.no_grad():
        expected = torch.sigmoid(network(torch.from_numpy(image))).numpy()
    result = TorchGraph(bundle, "cpu")({"image": image})["probabilities"]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=2e-3)


def test_without_cuda_the_cpu_is_offered(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"torch sees no CUDA device\. Use --device cpu"):
        TorchGraph(bundle, "cuda")


def test_damaged_weights_are_named(bundle: Bundle) -> None:
    (bundle.folder / "tiny.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"tiny.safetensors is damaged: its SHA-256 differs"):
        TorchGraph(bundle, "cpu")


def test_weights_that_are_none_are_told_in_one_line(tmp_path: Path) -> None:
    bundle = write_bundle(CARD, {"fp32": b"unused"}, b"no weights", tmp_path / "tiny")
    with pytest.raises(BundleError, match=r"torch cannot read the graph \(.+\)\. Restore the bundle") as caught:
        TorchGraph(bundle, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"config": {"widths": [4, 16]}}, {"config": {"depth": 3}}, {"config": {"widths": [1]}}, {"network": "unet"}],
)
def test_a_card_that_does_not_fit_its_weights_is_told_in_one_line(bundle: Bundle, changes: dict[str, object]) -> None:
    with pytest.raises(BundleError, match=r"torch cannot read the graph \(.+\)\. Restore the bundle") as caught:
        TorchGraph(changed(bundle, **changes), "cpu")
    assert "\n" not in str(caught.value)


def test_an_image_that_the_network_cannot_take_is_told_in_one_line(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"does not take image \(1, 1, 33, 32\).*multiples of 2") as caught:
        TorchGraph(bundle, "cpu")({"image": np.zeros((1, 1, 33, 32), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(bundle: Bundle) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    image = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)
    cpu, cuda = (TorchGraph(bundle, device)({"image": image})["probabilities"] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda, cpu, atol=1e-4)
