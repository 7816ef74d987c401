"""3-D networks as graphs of one window."""

from typing import Any

import numpy as np
import pytest
import torch

from leanseg.networks import build_network
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.export_volumes import window_graphs
from leanseg.training.volumes import Regions, count_volume_gmacs

SIZE = (16, 24, 16)
CONFIGS: dict[str, dict[str, Any]] = {
    "segresnet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "trans_bts": {"width": 8, "dim": 16, "layers": 1, "heads": 2, "mlp_dim": 32, "grid_kji": list(SIZE)},
    "trans_bts_v2": {"width": 8, "dim": 16, "heads": 2, "mlp_dim": 32, "grid_kji": list(SIZE)},
    "cga_unet": {"width": 8, "attention_width": 4},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_both_graphs_give_the_regions_that_torch_gives(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, CONFIGS[name]).eval()
    patches = np.random.default_rng(0).standard_normal((2, 4, *SIZE)).astype(np.float32)
    graphs = window_graphs(network, SIZE, patches)
    with torch.no_grad():
        expected = Regions(network)(torch.from_numpy(patches[:1])).numpy()
    assert expected.std() > 0.05 and len(graphs["int8"]) > 1000
    for precision, tolerance in (("fp32", 2e-3), ("int8", 0.05)):
        p = OpenVINOGraph(graphs[precision], threads=1)({"image": patches[:1]})["probabilities"]
        assert p.shape == (1, 3, *SIZE)
        np.testing.assert_allclose(p, expected, atol=tolerance, rtol=0)
    assert b"QuantizeLinear" in graphs["int8"] and b"QuantizeLinear" not in graphs["fp32"]


def test_macs_of_a_window_by_hand() -> None:
    """27 weights x 2 x 3 channels at each of 8 x 8 x 8 voxels."""
    convolution = torch.nn.Conv3d(2, 3, 3, padding=1)
    assert count_volume_gmacs(convolution, 2, (8, 8, 8)) * 1e9 == pytest.approx(27 * 6 * 512)
    assert convolution.weight.device.type == "cpu"
