"""A model that can be predicted by hand, without torch: dark is lesion."""

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from leanseg.processing.postprocess import PostprocessingConfig
from leanseg.segmentation import Segment
from leanseg.volume import Volume, VolumeGeometry
from leanseg.weights.bundle import Bundle, write_bundle
from leanseg.weights.card import CARD_FORMAT, FileCard, ModelCard

SIZE_JI = (64, 64)
LEVEL, GAIN = 0.35, 30.0

CARD = ModelCard(
    id="tiny",
    system="t2kd_attention_unet",
    title="Dark is lesion",
    task="breast lesion segmentation",
    modality="US",
    inputs=("ultrasound",),
    labels=(Segment("lesion", "Breast lesion", 1, (0.5, 0.9, 0.5), ""),),
    engine="slicewise",
    network="attention_unet",
    config={"widths": [4, 8]},
    preprocessing={"size_ji": list(SIZE_JI), "percentiles": [0.5, 99.5]},
    postprocessing=dataclasses.asdict(PostprocessingConfig()),
    graphs={},
    weights=FileCard("", "", 0),
    parameters=2,
    gmacs=0.25,
    temperature=1.0,
    training={},
    metrics={},
    license="Apache-2.0",
    data_licenses=(),
    intended_use="Tests.",
    format=CARD_FORMAT,
)


def dark_is_lesion(output: str = "probabilities", channels: int = 1, gain: float = GAIN) -> bytes:
    """The ONNX graph of sigmoid((0.35 - mean of 3 x 3) * gain), on `SIZE_JI`; outside the image is 0."""
    mean = helper.make_node(
        "AveragePool", ["image"], ["mean"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    )
    nodes = [
        mean,
        helper.make_node("Sub", ["level", "mean"], ["darkness"]),
        helper.make_node("Mul", ["darkness", "gain"], ["weighed"]),
        helper.make_node("Sigmoid", ["weighed"], [output if channels == 1 else "one"]),
    ]
    if channels > 1:
        nodes.append(helper.make_node("Concat", ["one"] * channels, [output], axis=1))
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("level", LEVEL), ("gain", gain))]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, *SIZE_JI])
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, channels, *SIZE_JI])
    graph = helper.make_graph(nodes, "dark_is_lesion", [image], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def write_tiny_bundle(folder: Path, graphs: Mapping[str, bytes] | None = None, **changes: Any) -> Bundle:
    """`changes`: of `CARD`. The weights are no weights, because only `--device cuda` reads them."""
    return write_bundle(replace(CARD, **changes), graphs or {"fp32": dark_is_lesion()}, b"no weights", folder)


def ellipse(
    shape_ji: tuple[int, int], radii: tuple[float, float] = (0.3, 0.3), center: tuple[float, float] = (0.5, 0.5)
) -> NDArray[np.bool_]:
    """(j, i) mask; radii and center as fractions of height and width."""
    y, x = ((np.arange(n) + 0.5) / n for n in shape_ji)
    return np.asarray(
        ((y[:, None] - center[0]) / radii[0]) ** 2 + ((x[None, :] - center[1]) / radii[1]) ** 2 <= 1, dtype=bool
    )


def dark_on_bright(mask: NDArray[np.bool_], dtype: str = "uint8", dark: float = 20, bright: float = 200) -> Volume:
    """(k, j, i) mask -> image (1, k, j, i) whose lesion is `dark`, 0.5 x 0.25 mm pixels, slices of 2 mm."""
    array = np.where(mask, dark, bright).astype(dtype)[np.newaxis]
    return Volume(array, VolumeGeometry(mask.shape, np.diag([-0.25, -0.5, 2.0, 1.0])))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
