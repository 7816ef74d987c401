"""Networks that decide for each slice as graphs, one for each job, and the `DynamicConfig` that goes with them.

    decision  image -> decision_logits (batch, decision)
    position  image -> position (batch, crop size, 2), in (0, 1), row first          where there are crops
    branches  image -> probabilities (batch, region, j, i), and bits (batch, stage)  where stages choose them

Branches of any size share a graph: `crop` and `whole` of Med-DANet V2, `width_<n>` of each member of Med-DANet's bank,
`whole` of a static U-Net. All are of any batch size and any height and width in multiples of 8.

The weights of a branch are those of the network, not rounded to the bits of its stages, and the bits are what the
selectors say about its features (docs/adr/0005-bits-are-accounting.md). For the decision and position networks there is
no INT8 graph: they are small, and it takes longer to compile than it saves on a case.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.inference.decision_windows import STEP_PX
from leanseg.inference.decisions import BranchConfig, DynamicConfig
from leanseg.inference.dynamic_slicewise import DECISION, POSITION
from leanseg.losses.regions import REGION_NAMES, regions_of_classes
from leanseg.networks.blocks.bits import BitChooser
from leanseg.networks.blocks.crop import cut
from leanseg.networks.blocks.residual_unet import ResidualUNet
from leanseg.networks.med_danet import MedDANet
from leanseg.networks.med_danet_v2 import OUTSIDE_LOGITS, MedDANetV2
from leanseg.training.deployment import DeploymentConfig
from leanseg.training.graphs import export_onnx, fold_batch_norm, quantize_int8, store_weights_as_fp16

Float32 = NDArray[np.float32]
EXPORTED = ("med_danet", "med_danet_v2", "residual_unet")


class Branch(nn.Module):
    """A static U-Net that ends with the probabilities of the regions, with the bits its stages ask for."""

    def __init__(self, network: ResidualUNet, temperature: float, selectors: nn.ModuleList | None = None) -> None:
        super().__init__()
        self.network = network
        self.selectors = selectors
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        chooser = BitChooser(self.selectors, image, quantize=False) if self.selectors else None
        logits = self.network.head(self.network.body(image, chooser))
        probabilities = regions_of_classes(torch.softmax(logits / self.temperature, dim=1))
        return probabilities if chooser is None else (probabilities, torch.stack(chooser.chosen, dim=1))


class Position(nn.Module):
    """The crop position network up to fractions of the room."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        a: Tensor = torch.sigmoid(self.network(image)).unflatten(1, (-1, 2))
        return a


@dataclass(frozen=True)
class BranchSource:
    """A branch before it is a graph."""

    network: ResidualUNet
    config: BranchConfig


def branches_of(network: nn.Module, size_ji: tuple[int, int]) -> list[BranchSource]:
    """The ways to segment a slice, in the order of the decisions from 1.

    Raises:
        UnknownNameError: a network that has no such graphs.
        LeanSegError: crops whose head needs the whole slice, or members that are no residual U-Nets.
    """
    if isinstance(network, ResidualUNet):
        return [_static(network, "whole", size_ji)]
    if isinstance(network, MedDANet):
        members = [member for member in network.bank if isinstance(member, ResidualUNet)]
        if len(members) < len(network.bank):
            raise LeanSegError("The bank holds other networks than residual U-Nets; those only have an exporter.")
        return [_static(member, f"width_{member.config.width}", size_ji) for member in members]
    if not isinstance(network, MedDANetV2):
        raise UnknownNameError("exporter for network", type(network).__name__, EXPORTED)
    if network.config.paste != "logits":
        raise LeanSegError(
            'The crop head sees all of a slice; a graph of the crop alone needs config.paste = "logits".'
        )
    crops = [(choice, f"crop_{size}", "crop", (size, size)) for choice, size in enumerate(network.config.crop_sizes, 1)]
    return [
        BranchSource(network.static(choice), _branch_config(network, choice, name, part, size))
        for choice, name, part, size in [*crops, (network.whole, "whole", "whole", size_ji)]
    ]


def _static(network: ResidualUNet, name: str, size_ji: tuple[int, int]) -> BranchSource:
    return BranchSource(network, BranchConfig(name, name, size_ji, (), network.macs(*size_ji)))


def _branch_config(network: MedDANetV2, choice: int, name: str, part: str, size_ji: tuple[int, int]) -> BranchConfig:
    stages = network.body.stage_macs(*size_ji) if network.config.bits else ()
    unet = network.static(choice)
    return BranchConfig(name, part, size_ji, stages, unet.macs(*size_ji) - sum(stages))


def dynamic_config(
    network: nn.Module, size_ji: tuple[int, int], temperature: float, deployment: DeploymentConfig | None = None
) -> DynamicConfig:
    """What the engine needs to know about a network; raises as `branches_of`."""
    deployment = deployment or DeploymentConfig()
    small = {name: getattr(network, name, None) for name in (DECISION, POSITION)}
    macs = {name: 0 if module is None else module.macs(*size_ji) for name, module in small.items()}
    outside = torch.tensor([OUTSIDE_LOGITS[0], *(OUTSIDE_LOGITS[1],) * len(REGION_NAMES)]) / temperature
    regions = regions_of_classes(outside.softmax(dim=0)[None, :, None, None]).flatten().tolist()
    return DynamicConfig(
        branches=tuple(source.config for source in branches_of(network, size_ji)),
        regions=REGION_NAMES,
        decision_macs=macs[DECISION],
        position_macs=macs[POSITION],
        outside=tuple(regions),
        neighbor_mm=deployment.neighbor_mm,
        skip_bias=deployment.skip_bias,
        probe_mm=deployment.probe_mm,
        follow=deployment.follow,
        window_step=STEP_PX if deployment.windows else 0,
    )


def dynamic_graphs(
    network: nn.Module, size_ji: tuple[int, int], temperature: float, calibration: Tensor, smaller: bool = True
) -> dict[str, bytes]:
    """Every graph of a network in eval mode, by `<part>_<precision>`; INT8 ranges are read from some training slices.

    Args:
        calibration: (slice, channel, j, i); crops are cut from it where the network would.
        smaller: store fp32 weights as fp16.
    """
    channels = calibration.shape[1]
    stored = store_weights_as_fp16 if smaller else (lambda model: model)
    graphs = {
        f"{name}_fp32": stored(export_onnx(module, channels, size_ji, (output,), any_shape=True))
        for name, output, module in _deciding(network)
    }
    seen = calibration_of(network, size_ji, calibration)
    for source in branches_of(network, size_ji):
        part = source.config.part
        if f"{part}_fp32" in graphs:  # another size of the same
            continue
        selectors = network.selectors if isinstance(network, MedDANetV2) and source.config.stage_macs else None
        folded = copy.deepcopy(source.network)
        fold_batch_norm(folded)
        branch = Branch(folded, temperature, selectors).eval()
        outputs = ("probabilities", "bits") if selectors else ("probabilities",)
        fp32 = export_onnx(branch, channels, source.config.size_ji, outputs, any_shape=True)
        graphs[f"{part}_int8"] = quantize_int8(fp32, seen[part], only_convolutions_of="probabilities")
        graphs[f"{part}_fp32"] = stored(fp32)
    return {name: model.SerializeToString() for name, model in graphs.items()}


def _deciding(network: nn.Module) -> list[tuple[str, str, nn.Module]]:
    """The small networks: part, output, and what is exported."""
    if not isinstance(network, (MedDANet, MedDANetV2)):
        return []
    decision = (DECISION, "decision_logits", fold_batch_norm(copy.deepcopy(network.decision)).eval())
    if isinstance(network, MedDANet):
        return [decision]
    return [decision, (POSITION, "position", Position(fold_batch_norm(copy.deepcopy(network.position))).eval())]


def calibration_of(network: nn.Module, size_ji: tuple[int, int], slices: Tensor) -> dict[str, Iterable[Float32]]:
    """What each part would see of some slices: by part, (channel, j, i) arrays."""
    seen: dict[str, list[Float32]] = {}
    for n, source in enumerate(branches_of(network, size_ji)):
        images = slices
        if isinstance(network, MedDANetV2) and source.config.size_ji != size_ji:
            with torch.no_grad():
                corners = torch.cat([network.corners(some) for some in slices.split(16)])[:, n].round().long()
            images = cut(slices, corners, source.config.size_ji[0])
        seen.setdefault(source.config.part, []).extend(np.asarray(image.numpy()) for image in images)
    return dict(seen)
