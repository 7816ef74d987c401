"""Med-DANet V2: skip a slice, segment a square of it, or all of it, with as many bits as each stage needs.

Paper: Shen et al., Med-DANet V2: a flexible dynamic architecture for efficient medical volumetric segmentation,
WACV 2024, arXiv 2310.18656. The released code is under Apache-2.0; nothing was taken from it, this file was written
from published facts.

Departures from the released code
  * A crop is pasted where it was cut; there row and column change places.
  * A skipped slice is background with probability 1; there all labels are 0.
  * The crop position network runs only for slices that are cropped, and both small networks are counted; there
    neither is.
  * In inference corners are rounded to whole pixels, so that cutting and pasting are slices of arrays; training
    interpolates between pixels.
  * Dropout is off in inference, softmax is applied once.
  * MACs are counted from the layers, not copied; the released constants differ by a few percent.
Inferred
  * Several crop sizes share one U-Net and one crop head, and have a position each. The paper's figure shows sizes
    M1 to Mn, the released code has one.
  * Height and width are any multiples of 8 that hold the crops, and may differ.
Options that the paper does not have
  * `paste="logits"`: the crop head runs on the crop, and logits are pasted on a background of `OUTSIDE_LOGITS` instead
    of features on zeros. It costs less, and an exported graph needs to see nothing but the crop.
  * `position_gradient="both"`: the crop position network learns through the cut as well, not through the paste alone.
  * `up_sampling="nearest"`, as in blocks/residual_unet.py.

Symbols: a the position in (0, 1)^2, row first; the corner of a crop of size M is a * (height - M, width - M).
Decisions: 0 skip, 1 ... n a crop of that size, n + 1 whole.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from leanseg.errors import UnknownNameError
from leanseg.networks.blocks.bits import FULL_BITS, BitChooser, BitSelector
from leanseg.networks.blocks.crop import crop_at, cut, paste_at, put
from leanseg.networks.blocks.decision import CostReport, DecisionNetwork, ShuffleNetV2, background, check_decisions
from leanseg.networks.blocks.residual_unet import (
    STRIDE,
    Head,
    ResidualUNet,
    ResidualUNetBody,
    ResidualUNetConfig,
    check_grid,
)

SKIP = 0
PASTES = ("features", "logits")
POSITION_GRADIENTS = ("paste", "both")
OUTSIDE_LOGITS = (10.0, 0.0)
"""Of background and of the other labels outside a crop, with `paste="logits"`."""


@dataclass(frozen=True)
class MedDANetV2Config:
    """Constructor values of `MedDANetV2`; the defaults are the paper's."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    width: int = 16
    crop_sizes: tuple[int, ...] = (96,)
    """Side of the squares in pixels, multiples of 8, at least one."""
    bits: tuple[int, ...] = (8, 16)
    """Candidates of the weights of each encoder stage, ascending; empty: nothing is quantized."""
    decision_width: str = "0.5x"
    decision_pool: str = "mean"
    """`mean` over the slice (paper), or `cells` (blocks/decision.py)."""
    dropout: float = 0.2
    up_sampling: str = "transposed"
    paste: str = "features"
    position_gradient: str = "paste"

    def __post_init__(self) -> None:
        self.unet  # noqa: B018 - its checks
        for name, known in (("paste", PASTES), ("position_gradient", POSITION_GRADIENTS)):
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        if not self.crop_sizes or any(size < STRIDE or size % STRIDE for size in self.crop_sizes):
            raise ValueError(f"crop_sizes needs at least one size, multiples of {STRIDE}; got {self.crop_sizes}.")
        if any(not 2 <= b <= FULL_BITS for b in self.bits) or list(self.bits) != sorted(set(self.bits)):
            raise ValueError(f"bits must ascend and lie between 2 and {FULL_BITS}; got {self.bits}.")

    @property
    def unet(self) -> ResidualUNetConfig:
        return ResidualUNetConfig(self.in_channels, self.out_channels, self.width, self.dropout, self.up_sampling)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"crop_sizes": list(self.crop_sizes), "bits": list(self.bits)}


class Branch(NamedTuple):
    """One way to segment slices."""

    logits: Tensor
    """(batch, out_channels, height, width)"""
    bits: Tensor
    """(batch, stage), of the weights; 32 where nothing is quantized. Carries the selectors' gradient."""


class MedDANetV2Prediction(NamedTuple):
    logits: Tensor
    """(batch, out_channels, height, width)"""
    decisions: Tensor
    """(batch,), 0 skip, then the crops, then whole"""
    corners: Tensor
    """(batch, 2), first row and column of what was segmented; 0 if all or nothing was"""
    bits: Tensor
    """(batch, stage); 0 for skipped slices"""
    cost: CostReport


class MedDANetV2(nn.Module):
    """Decision network, crop position network, and a U-Net with one head for crops and one for whole slices."""

    stride = STRIDE

    def __init__(self, config: MedDANetV2Config) -> None:
        super().__init__()
        self.config = config
        sizes = len(config.crop_sizes)
        self.decision = DecisionNetwork(config.in_channels, sizes + 2, config.decision_width, config.decision_pool)
        self.position = ShuffleNetV2(config.in_channels, 2 * sizes, config.decision_width)
        self.body = ResidualUNetBody(config.unet)
        self.crop_head = Head(config.unet)
        self.whole_head = Head(config.unet)
        self.selectors = nn.ModuleList(
            BitSelector(config.in_channels, channels, config.bits)
            for channels in self.body.stage_channels
            if config.bits
        )

    @property
    def whole(self) -> int:
        """The decision to segment all of a slice."""
        return len(self.config.crop_sizes) + 1

    def static(self, choice: int | None = None) -> ResidualUNet:
        """The plain U-Net of a branch, by default of whole slices, with the same parameters, not a copy.

        With `paste="logits"` that of a crop is all that a crop needs.
        """
        with torch.device("meta"):
            network = ResidualUNet(self.config.unet)
        network.body = self.body
        network.head = self.whole_head if choice in (None, self.whole) else self.crop_head
        return network.train(self.training)

    # ── the branches ────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, image: Float[Tensor, "batch channel height width"]) -> None:
        """Raises ValueError if the grid is not in multiples of 8 or too small for the crops."""
        check_grid("MedDANetV2", image)
        if max(self.config.crop_sizes) > min(image.shape[-2:]):
            raise ValueError(
                f"MedDANetV2 needs height and width of at least {max(self.config.crop_sizes)}, its largest crop; "
                f"got {tuple(image.shape[-2:])}. Pad the image, or give smaller crop_sizes."
            )

    def corners(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch size 2"]:
        """Where the crops of each size begin, in pixels, row first."""
        a: Tensor = self.position(image).float().sigmoid().unflatten(1, (-1, 2))
        room = [[image.shape[-2] - size, image.shape[-1] - size] for size in self.config.crop_sizes]
        return a * a.new_tensor(room)

    def features(
        self, image: Float[Tensor, "batch channel height width"], quantize: bool
    ) -> tuple[Float[Tensor, "batch feature height width"], Float[Tensor, "batch stage"]]:
        """The body's output, and the bits that each of its stages was given."""
        if not quantize or not self.config.bits:
            return self.body(image), image.new_full((len(image), len(self.body.stages)), float(FULL_BITS))
        chooser = BitChooser(self.selectors, image)
        features = self.body(image, chooser)
        return features, torch.stack(chooser.chosen, dim=1)

    def whole_branch(self, image: Float[Tensor, "batch channel height width"], quantize: bool) -> Branch:
        features, bits = self.features(image, quantize)
        return Branch(self.whole_head(features), bits)

    def crop(
        self, image: Float[Tensor, "batch channel height width"], corner: Float[Tensor, "batch 2"], size: int
    ) -> Float[Tensor, "batch channel size size"]:
        """What the crop branch sees, interpolated; without a gradient unless `position_gradient` is "both"."""
        crop = crop_at(image, corner, size)
        return crop if self.config.position_gradient == "both" else crop.detach()

    def crop_branch(
        self,
        image: Float[Tensor, "batch channel height width"],
        corner: Float[Tensor, "batch 2"] | Int[Tensor, "batch 2"],
        size: int,
        quantize: bool,
    ) -> Branch:
        """Whole corners cut and paste pixels; fractional ones interpolate and have a gradient."""
        exact, grid = not corner.is_floating_point(), image.shape[-2:]
        features, bits = self.features(cut(image, corner, size) if exact else self.crop(image, corner, size), quantize)
        paste = put if exact else paste_at
        if self.config.paste == "features":
            return Branch(self.crop_head(paste(features, corner, *grid)), bits)
        logits = self.crop_head(features)
        outside = logits.new_full((1, self.config.out_channels, 1, 1), OUTSIDE_LOGITS[1])
        outside[:, 0] = OUTSIDE_LOGITS[0]
        return Branch(paste(logits - outside, corner, *grid) + outside, bits)

    def branches(self, image: Float[Tensor, "batch channel height width"], quantize: bool) -> list[Branch]:
        """For training: every slice through every branch, in the order of the decisions from 1."""
        self.check(image)
        corners = self.corners(image)
        crops = [self.crop_branch(image, corners[:, n], m, quantize) for n, m in enumerate(self.config.crop_sizes)]
        return [*crops, self.whole_branch(image, quantize)]

    # ── inference ───────────────────────────────────────────────────────────────────────────────────────────────────

    def forward(self, image: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch label height width"]:
        """Logits on the grid of the slices, each by the branch that the decision network chooses.

        Raises:
            ValueError: height or width is not a multiple of 8, or too small for the crops.
        """
        return self.predict(image).logits

    def predict(
        self,
        image: Float[Tensor, "batch channel height width"],
        decisions: Int[Tensor, " batch"] | None = None,
        quantize: bool = True,
    ) -> MedDANetV2Prediction:
        """`forward` with what was decided and what it cost. `decisions` overrules the decision network.

        No noise: the largest output decides. Slices with the same decision run together; skipped ones run nothing.
        Raises as `forward`, and ValueError for a decision that does not exist.
        """
        self.check(image)
        if decisions is None:
            decisions = self.decision(image).argmax(dim=1)
        check_decisions(decisions, self.whole + 1)
        logits = background(image, self.config.out_channels)
        corners = torch.zeros(len(image), 2, dtype=torch.int64, device=image.device)
        bits = image.new_zeros(len(image), len(self.body.stages))
        cropped = (decisions != SKIP) & (decisions != self.whole)
        if cropped.any():
            each = self.corners(image[cropped]).round().long()
            corners[cropped] = each[torch.arange(len(each)), decisions[cropped] - 1]
        for choice in decisions.unique().tolist():
            if choice == SKIP:
                continue
            chosen = decisions == choice
            if choice == self.whole:
                branch = self.whole_branch(image[chosen], quantize)
            else:
                size = self.config.crop_sizes[choice - 1]
                branch = self.crop_branch(image[chosen], corners[chosen], size, quantize)
            logits[chosen] = branch.logits.to(logits.dtype)
            bits[chosen] = branch.bits.to(bits.dtype)
        return MedDANetV2Prediction(logits, decisions, corners, bits, self.cost(decisions, bits, *image.shape[-2:]))

    # ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────

    def branch_macs(
        self, choice: int, bits: Float[Tensor, "batch stage"], height: int, width: int
    ) -> Float[Tensor, " batch"]:
        """Bit-weighted MACs of a branch for each slice, without the two small networks; 32 bits: plain MACs."""
        size = (height, width) if choice == self.whole else (self.config.crop_sizes[choice - 1],) * 2
        is_small = choice != self.whole and self.config.paste == "logits"
        head = self.whole_head.macs(*(size if is_small else (height, width)))
        stages = bits.new_tensor(self.body.stage_macs(*size), dtype=torch.float64)
        return (bits.double() / FULL_BITS * stages).sum(dim=1) + self.body.other_macs(*size) + head

    def cost(
        self, decisions: Int[Tensor, " batch"], bits: Float[Tensor, "batch stage"], height: int, width: int
    ) -> CostReport:
        """Of these decisions: the decision network on every slice, the position network on every cropped one."""
        histogram = torch.bincount(decisions.flatten().cpu(), minlength=self.whole + 1).tolist()
        deciding = self.decision.macs(height, width) * len(decisions)
        deciding += self.position.macs(height, width) * sum(histogram[1 : self.whole])
        macs, weighted = float(deciding), float(deciding)
        for choice in range(1, self.whole + 1):
            some = bits[decisions == choice]
            macs += float(self.branch_macs(choice, torch.full_like(some, FULL_BITS), height, width).sum())
            weighted += float(self.branch_macs(choice, some, height, width).sum())
        return CostReport(tuple(histogram), round(macs), weighted, deciding)
