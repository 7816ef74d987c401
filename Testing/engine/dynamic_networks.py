"""Small dynamic networks that do something with every slice, and engines that run their graphs."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanseg.inference.decisions import DynamicConfig
from leanseg.inference.dynamic_slicewise import DynamicSlicewiseEngine, graph_shapes
from leanseg.networks.blocks.decision import ShuffleNetV2
from leanseg.networks.med_danet import MedDANet, MedDANetConfig
from leanseg.networks.med_danet_v2 import MedDANetV2, MedDANetV2Config
from leanseg.processing.brain import BrainPreprocessingConfig
from leanseg.processing.preprocess import ModelInput
from leanseg.runtime.graph import Graph
from leanseg.runtime.openvino_graph import OpenVINOGraph
from leanseg.training.brain_card import LABELS
from leanseg.training.dynamic_graphs import dynamic_config, dynamic_graphs
from leanseg.volume import Volume, VolumeGeometry
from leanseg.weights.bundle import Bundle, write_bundle
from Testing.engine.tiny import CARD

SIZE = (48, 40)
TEMPERATURE = 1.7
V2 = MedDANetV2Config(width=4, crop_sizes=(16, 24), paste="logits", up_sampling="nearest")
V1 = MedDANetConfig(bank_widths=(2, 4), up_sampling="nearest")


def slices(number: int, seed: int = 0) -> Tensor:
    """(number, 4, 48, 40); the later ones are stronger, so that they are decided differently."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(number, 4, *SIZE, generator=generator)
    return images * torch.linspace(0.2, 3.0, number)[:, None, None, None]


N = 11
IMAGES = slices(N)
EVERY_DECISION = {k: k % 4 for k in range(N)}
"""Skip, crop of 16, crop of 24, whole, and so on."""


def as_trained(network: nn.Module) -> None:
    """Batch-norm statistics away from 0 and 1, logits away from 0, and selectors that differ from slice to slice."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))  # type: ignore[union-attr]
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))  # type: ignore[union-attr]
            elif isinstance(module, nn.Linear):
                spread = 0.3 if name.startswith("selectors") else 3.0
                module.weight.copy_(spread * torch.randn(module.weight.shape, generator=generator))
            elif name.endswith("classify"):
                module.weight.mul_(20.0)  # type: ignore[operator]


def decide_in_turn(network: ShuffleNetV2) -> None:
    """Give the last layer the weights with which slice k of IMAGES is decided as k modulo the number of decisions."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(IMAGES)  # with these statistics the features differ from slice to slice
    network.eval()
    features: list[Tensor] = []
    hook = network.linear.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    with torch.no_grad():
        network(IMAGES)
        hook.remove()
        wanted = torch.eye(network.linear.out_features)[torch.arange(N) % network.linear.out_features]
        network.linear.weight.copy_(torch.linalg.lstsq(features[0].double(), wanted.double()).solution.T)


@functools.cache
def med_danet_v2() -> MedDANetV2:
    torch.manual_seed(0)
    network = MedDANetV2(V2).eval()
    as_trained(network)
    decide_in_turn(network.decision)
    return network


@functools.cache
def med_danet() -> MedDANet:
    torch.manual_seed(0)
    network = MedDANet(V1).eval()
    as_trained(network)
    decide_in_turn(network.decision)
    return network


@functools.cache
def exported_med_danet_v2() -> dict[str, bytes]:
    """With fp32 weights as they are; exporting takes seconds."""
    return dynamic_graphs(med_danet_v2(), SIZE, TEMPERATURE, slices(6, seed=5), smaller=False)


def model_input(images: Tensor) -> ModelInput:
    array = np.ascontiguousarray(images.numpy().transpose(1, 0, 2, 3))
    shape = (array.shape[1], array.shape[2], array.shape[3])
    return ModelInput(Volume(array, VolumeGeometry(shape)))


def write_dynamic_bundle(folder: Path) -> Bundle:
    """`med_danet_v2()` as a bundle; its id is that of the folder."""
    config = dynamic_config(med_danet_v2(), SIZE, TEMPERATURE)
    card = replace(
        CARD,
        id=folder.name,
        system="med_danet_v2",
        title="Med-DANet V2",
        task="brain tumor segmentation",
        modality="MR",
        inputs=("flair", "t1ce", "t1", "t2"),
        labels=LABELS,
        engine="dynamic_slicewise",
        network="med_danet_v2",
        config=V2.to_json(),
        preprocessing=asdict(BrainPreprocessingConfig(size_ji=SIZE)),
        engine_config=asdict(config),
    )
    return write_bundle(card, exported_med_danet_v2(), b"no weights", folder)


def engine_of(network: nn.Module) -> DynamicSlicewiseEngine:
    """Exported and run by OpenVINO, with fp32 weights as they are."""
    exported = dynamic_graphs(network, SIZE, TEMPERATURE, slices(6, seed=5), smaller=False)
    return engine_from(exported, dynamic_config(network, SIZE, TEMPERATURE))


def engine_from(exported: dict[str, bytes], config: DynamicConfig, precision: str = "fp32") -> DynamicSlicewiseEngine:
    graphs: dict[str, Graph] = {}
    for name, (part, shape) in graph_shapes(config, 4, SIZE).items():
        data = exported.get(f"{part}_{precision}", exported.get(f"{part}_fp32"))
        assert data is not None
        graphs[name] = OpenVINOGraph(data, shape=shape)
    return DynamicSlicewiseEngine(graphs, config)


def region_probabilities(logits: Tensor, temperature: float = TEMPERATURE) -> NDArray[np.float32]:
    """(batch, 4, j, i) logits -> (3, batch, j, i): WT = 1 + 2 + 3, TC = 1 + 3, ET = 3."""
    p = torch.softmax(logits / temperature, dim=1)
    regions = torch.stack([p[:, 1] + p[:, 2] + p[:, 3], p[:, 1] + p[:, 3], p[:, 3]])
    return np.asarray(regions.detach().numpy())


def made(notes: Mapping[str, Any], key: str) -> list[Any]:
    return [one[key] for one in notes["slice_decisions"]]
