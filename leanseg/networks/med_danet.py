"""Med-DANet: a decision network picks for each slice one member of a model bank, or none.

Paper: Wang et al., Med-DANet: dynamic architecture network for efficient medical volumetric segmentation, ECCV 2022,
arXiv 2206.06575. No code of it was released (the repository that carries its name holds Med-DANet V2, Apache-2.0);
this file was written from published facts alone.

Departures and inferences
  * The members of the bank are inferred: residual U-Nets (blocks/residual_unet.py) of the widths 8, 12, 16 and 24,
    0.26 to 2.28 GMACs for 128 x 128. The paper's mean of 0.61 G a slice lies within. Any 2-D networks that report
    their MACs can take their place.
  * That the decision has one output more than the bank has members is inferred from the released decision network,
    which has five outputs; the first is skip.
  * A skipped slice is background with probability 1, and no network runs for it.
  * What is decided for a slice can be overruled by the caller.

Training is in two stages: every member alone, then the decision network (training/med_danet.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from leanseg.networks.blocks.decision import CostReport, DecisionNetwork, background, check_decisions
from leanseg.networks.blocks.residual_unet import ResidualUNet, ResidualUNetConfig, check_grid

SKIP = 0


@dataclass(frozen=True)
class MedDANetConfig:
    """Constructor values of `MedDANet`; the bank is inferred, the rest is the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    bank_widths: tuple[int, ...] = (8, 12, 16, 24)
    """Width of each member; decision k is the k-th, from 1."""
    decision_width: str = "0.5x"
    decision_pool: str = "mean"
    """`mean` over the slice (paper), or `cells` (blocks/decision.py)."""
    dropout: float = 0.2
    up_sampling: str = "transposed"
    """`transposed` convolution, or `nearest` x2 + 1x1 convolution."""

    def __post_init__(self) -> None:
        if not self.bank_widths:
            raise ValueError("bank_widths needs at least one member.")
        for n in range(len(self.bank_widths)):
            self.member(n)

    def member(self, n: int) -> ResidualUNetConfig:
        """Of the n-th member, from 0: what it is trained with in stage 1."""
        return ResidualUNetConfig(
            self.in_channels, self.out_channels, self.bank_widths[n], self.dropout, self.up_sampling
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"bank_widths": list(self.bank_widths)}


class MedDANetPrediction(NamedTuple):
    logits: Tensor
    """(batch, out_channels, height, width)"""
    decisions: Tensor
    """(batch,), 0 is skip, k the k-th member"""
    cost: CostReport


class MedDANet(nn.Module):
    """Decision network and model bank."""

    def __init__(self, config: MedDANetConfig, bank: Sequence[nn.Module] | None = None) -> None:
        """`bank` replaces the residual U-Nets by other 2-D networks: slices to `out_channels` logits on the same grid.

        Raises:
            ValueError: a network of `bank` has no `macs(height, width)`.
        """
        super().__init__()
        self.config = config
        self.bank = nn.ModuleList(
            [ResidualUNet(config.member(n)) for n in range(len(config.bank_widths))] if bank is None else bank
        )
        for n, member in enumerate(self.bank):
            if not callable(getattr(member, "macs", None)):
                raise ValueError(
                    f"Network {n} of the bank, a {type(member).__name__}, reports no MACs. Give it a method "
                    "macs(height, width) that returns the multiply-accumulates for one slice."
                )
        self.decision = DecisionNetwork(
            config.in_channels, len(self.bank) + 1, config.decision_width, config.decision_pool
        )

    @property
    def stride(self) -> int:
        """Height and width must be multiples of this many pixels; a member says so by an attribute `stride`."""
        return max(int(cast(int, getattr(member, "stride", 1))) for member in self.bank)

    def bank_macs(self, height: int, width: int) -> tuple[int, ...]:
        """MACs of each member for one slice."""
        return tuple(cast(Callable[[int, int], int], member.macs)(height, width) for member in self.bank)

    def cost(self, decisions: Int[Tensor, " batch"], height: int, width: int) -> CostReport:
        """Of these decisions, with the decision network on every slice."""
        histogram = torch.bincount(decisions.flatten().cpu(), minlength=len(self.bank) + 1).tolist()
        deciding = self.decision.macs(height, width) * len(decisions)
        members = zip(histogram[1:], self.bank_macs(height, width), strict=True)
        macs = deciding + sum(number * each for number, each in members)
        return CostReport(tuple(histogram), macs, float(macs), deciding)

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch label height width"]:
        """Logits on the grid of the slices, each from the member that the decision network chooses.

        Raises:
            ValueError: height or width is not a multiple of `stride`.
        """
        return self.predict(image).logits

    def predict(
        self, image: Float[Tensor, "batch channel height width"], decisions: Int[Tensor, " batch"] | None = None
    ) -> MedDANetPrediction:
        """`forward` with what was decided and what it cost. `decisions` overrules the decision network.

        Slices with the same decision run together; skipped ones run nothing. Raises as `forward`, and ValueError for
        a decision that does not exist.
        """
        check_grid("MedDANet", image, self.stride)
        if decisions is None:
            decisions = self.decision(image).argmax(dim=1)
        check_decisions(decisions, len(self.bank) + 1)
        logits = background(image, self.config.out_channels)
        for choice in decisions.unique().tolist():
            if choice != SKIP:
                chosen = decisions == choice
                logits[chosen] = self.bank[choice - 1](image[chosen]).to(logits.dtype)
        return MedDANetPrediction(logits, decisions, self.cost(decisions, *image.shape[-2:]))
