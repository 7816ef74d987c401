"""What Med-DANet V2 is compared with: 3-D networks of the paper's size, arrays to labelmap, weights random.

Speed does not depend on the values of weights. Every peer gets what its own code does before and after the network: a
z-score of each sequence where it is above 0, and the largest of four classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import nn

from leanseg.processing.brain import mean_and_deviation
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.graphs import export_onnx, quantize_int8

Arrays = list[NDArray[np.generic]]
Peer = Callable[[Arrays], NDArray[np.uint8]]
STRIDE = 8


def zscores(arrays: Arrays) -> NDArray[np.float32]:
    """(channel, k, j, i): (value - mean) / deviation where a sequence is above 0, else 0."""
    result = np.zeros((len(arrays), *arrays[0].shape), np.float32)
    for channel, array in zip(result, arrays, strict=True):
        inside = array > 0
        mean, deviation = mean_and_deviation(array[inside])
        channel[inside] = (array[inside] - mean) / (deviation or 1.0)
    return result


def torch_windows(network: nn.Module, window_kji: tuple[int, int, int], overlap: float) -> Peer:
    """MONAI's sliding windows, torch fp32."""
    network = network.eval()

    def run(arrays: Arrays) -> NDArray[np.uint8]:
        image = torch.from_numpy(zscores(arrays))[None]
        with torch.inference_mode():
            logits = sliding_window_inference(image, window_kji, 1, network, overlap=overlap, mode="gaussian")
            return np.asarray(logits.argmax(dim=1)[0].to(torch.uint8).numpy())

    return run


def torch_whole(network: nn.Module) -> Peer:
    """One pass over the volume, zeros up to multiples of 8, torch fp32."""
    network = network.eval()

    def run(arrays: Arrays) -> NDArray[np.uint8]:
        image = zscores(arrays)
        padded = torch.from_numpy(np.pad(image, [(0, 0), *((0, -n % STRIDE) for n in image.shape[1:])]))
        with torch.inference_mode():
            labels = network(padded[None]).argmax(dim=1)[0].to(torch.uint8).numpy()
        return np.asarray(labels[tuple(slice(n) for n in image.shape[1:])])

    return run


class Labels(nn.Module):
    """Ends with the largest class, uint8: a graph that gives out probabilities would spend its time on copies."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image).argmax(dim=1).to(torch.uint8)


def brain_box(arrays: Arrays) -> tuple[slice, slice, slice]:
    """Around what is above 0 in any sequence; sides in multiples of 8, beyond the border if need be."""
    mask = np.logical_or.reduce([array > 0 for array in arrays])
    sides = []
    for axis in range(3):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        first, n = int(inside[0]), int(inside[-1] - inside[0] + 1)
        sides.append(slice(first, first + n + -n % STRIDE))
    return sides[0], sides[1], sides[2]


def openvino_cropped_int8(network: nn.Module, arrays: Arrays, threads: int) -> Peer:
    """One pass over the brain's box in OpenVINO INT8, compiled for the box of this case: the fair rival."""
    box = brain_box(arrays)
    shape = tuple(side.stop - side.start for side in box)
    graph = OpenVINOGraph(_int8(Labels(network).eval(), len(arrays), shape), threads)

    def run(arrays: Arrays) -> NDArray[np.uint8]:
        k, j, i = brain_box(arrays)
        cut = zscores([array[k, j, i] for array in arrays])
        image = np.pad(cut, [(0, 0), *((0, n - have) for n, have in zip(shape, cut.shape[1:], strict=True))])
        labels = np.zeros(arrays[0].shape, np.uint8)
        found = graph({"image": image[None]})["labels"][0]
        labels[k, j, i] = found[tuple(slice(n) for n in cut.shape[1:])]
        return labels

    return run


def _int8(network: nn.Module, channels: int, shape_kji: tuple[int, ...]) -> bytes:
    """Ranges are of noise, because only the time counts."""
    fp32 = export_onnx(network, channels, shape_kji, ("labels",))
    noise = np.random.default_rng(0).standard_normal((1, channels, *shape_kji)).astype(np.float32)
    return bytes(quantize_int8(fp32, noise, only_convolutions_of="labels").SerializeToString())
