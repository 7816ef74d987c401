"""3-D networks that are exported and run window by window where there is no torch; images that do not fit them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.networks import build_network
from leanseg.networks.blocks import deformable
from leanseg.processing.preprocess import ModelInput
from leanseg.training.graphs import export_onnx
from leanseg.training.volumes import Regions
from leanseg.volume import Volume, VolumeGeometry

WINDOW = (16, 16, 16)
TOKENS: dict[str, Any] = {"dim": 16, "heads": 2, "mlp_dim": 32, "grid_kji": list(WINDOW)}
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.processing.preprocess import ModelInput
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.volume import Volume, VolumeGeometry

folder, window = sys.argv[1], (16, 16, 16)
image = np.load(f"{folder}/image.npy")
graph = OpenVINOGraph(open(f"{folder}/graph.onnx", "rb").read(), threads=1)
engine = SlidingWindowEngine(graph, SlidingWindowConfig(window), 0.0, 3)
seen = engine.predict(ModelInput(Volume(image, VolumeGeometry(image.shape[1:]))))
assert sys.modules["torch"] is None
np.save(f"{folder}/seen.npy", seen.probabilities.array)
"""


class InTorch:
    """A network as a graph."""

    runtime = "torch"

    def __init__(self, network: nn.Module) -> None:
        self.network = Regions(network).eval()

    def __call__(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            return {"probabilities": self.network(torch.from_numpy(inputs["image"])).numpy()}


def test_trans_bts_v2_runs_in_windows_without_torch_as_the_network_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depth other than that of a window, nothing a multiple of 8; taps that move, sampled in several slabs."""
    monkeypatch.setattr(deformable, "SAMPLES_AT_ONCE_IN_GRAPH", 1 << 18)
    torch.manual_seed(0)
    network = build_network("trans_bts_v2", {"width": 8, **TOKENS}).eval()
    offsets = [one.offset for one in network.modules() if isinstance(one, deformable.DeformableConv3d)]
    for offset in offsets:
        nn.init.normal_(offset.bias, std=1.5)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    image = rng.standard_normal((4, 21, 18, 23)).astype(np.float32)
    graph = export_onnx(Regions(network).eval(), 4, WINDOW)
    samplings = sum(node.op_type == "GridSample" for node in graph.graph.node)
    assert len(offsets) == 3 and samplings > 3, "several slabs"
    (tmp_path / "graph.onnx").write_bytes(graph.SerializeToString())
    np.save(tmp_path / "image.npy", image)
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    seen = np.load(tmp_path / "seen.npy")
    engine = SlidingWindowEngine(InTorch(network), SlidingWindowConfig(WINDOW), 0.0, 3)
    expected = engine.predict(ModelInput(Volume(image, VolumeGeometry((21, 18, 23)))))
    assert expected.notes["windows"] == 8 and expected.probabilities.array.std() > 0.03
    np.testing.assert_allclose(seen, expected.probabilities.array, atol=2e-3, rtol=0)
    for offset in offsets:
        nn.init.zeros_(offset.bias)  # type: ignore[arg-type]
    still = engine.predict(ModelInput(Volume(image, VolumeGeometry((21, 18, 23)))))
    assert np.abs(still.probabilities.array - seen).max() > 0.01, "that the taps move is seen"


# ── images that do not fit ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["trans_bts", "trans_bts_v2", "cga_unet"])
def test_a_network_of_four_sequences_says_that_ct_has_one_channel(name: str) -> None:
    config = {"width": 8, **({} if name == "cga_unet" else TOKENS)}
    with pytest.raises(ValueError, match=r"takes 4 channels; got 1\. Set in_channels to 1\.$") as caught:
        build_network(name, config)(torch.zeros(1, 1, *WINDOW))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["trans_bts_v2", "cga_unet"])
@pytest.mark.parametrize("size", [(8, 16, 16), (24, 16, 8)])
def test_ct_of_any_depth_goes_through_a_network_of_one_channel(name: str, size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    config = {"width": 8, "in_channels": 1, "out_channels": 2, **({} if name == "cga_unet" else TOKENS)}
    network = build_network(name, config).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 1, *size))
    assert logits.shape == (1, 2, *size) and bool(logits.isfinite().all())


@pytest.mark.parametrize("name", ["trans_bts_v2", "cga_unet"])
def test_sizes_that_are_no_multiples_of_the_stride_say_what_to_pad_to(name: str) -> None:
    config = {"width": 8, "in_channels": 1, **({} if name == "cga_unet" else TOKENS)}
    with pytest.raises(ValueError, match=r"multiples of 8; got \(9, 16, 20\)\. Pad the volume to 16 x 16 x 24\.$"):
        build_network(name, config)(torch.zeros(1, 1, 9, 16, 20))
