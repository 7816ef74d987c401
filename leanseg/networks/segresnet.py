"""SegResNet of MONAI by our conventions: a 3-D residual U-Net that the 2-D networks of brains are compared with.

Paper: Myronenko, 3D MRI brain tumor segmentation using autoencoder regularization, BrainLes 2018, arXiv 1810.11654; the
network is MONAI's (Apache-2.0), which leaves the autoencoder out. MONAI is imported when a network is built, because
that takes a second or two.

Departures
  * The network gives logits of four exclusive classes, as all networks of brains here; MONAI's bundle for BraTS gives
    one sigmoid a region.
  * A grid that it cannot take is refused here, not where a skip connection does not fit.
"""

from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

NORM_GROUPS = 8


@dataclass(frozen=True)
class SegResNetConfig:
    """Constructor values of `SegResNet`; the defaults are those of MONAI's bundle for BraTS."""

    in_channels: int = 4
    """FLAIR, T1ce, T1, T2."""
    out_channels: int = 4
    """Background, necrosis, edema, enhancing tumor."""
    init_filters: int = 16
    """Channels of the finest level, a multiple of 8; each coarser one has twice as many."""
    blocks_down: tuple[int, ...] = (1, 2, 2, 4)
    """Residual blocks of each encoder level."""
    blocks_up: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.2
    """Of whole channels, after the first convolution, in training."""

    def __post_init__(self) -> None:
        if self.init_filters < NORM_GROUPS or self.init_filters % NORM_GROUPS:
            raise ValueError(f"init_filters must be a multiple of {NORM_GROUPS}; got {self.init_filters}.")
        if len(self.blocks_up) != len(self.blocks_down) - 1 or min((*self.blocks_down, *self.blocks_up), default=0) < 1:
            raise ValueError(
                "blocks_up needs one level less than blocks_down, each with at least one block; got "
                f"{self.blocks_up} and {self.blocks_down}."
            )
        if self.in_channels < 1 or self.out_channels < 2 or not 0 <= self.dropout < 1:
            raise ValueError(f"channels must be positive, labels at least 2, and dropout below 1; got {self}.")

    @property
    def stride(self) -> int:
        """Depth, height and width of the input must be multiples of this many voxels."""
        return 1 << len(self.blocks_up)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"blocks_down": list(self.blocks_down), "blocks_up": list(self.blocks_up)}


class SegResNet(nn.Module):
    """Group norm, ReLU, convolution in every block; trilinear upsampling; skip connections are added."""

    def __init__(self, config: SegResNetConfig) -> None:
        super().__init__()
        from monai.networks.nets.segresnet import SegResNet as MonaiSegResNet

        self.config = config
        self.network = MonaiSegResNet(
            spatial_dims=3,
            init_filters=config.init_filters,
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            dropout_prob=config.dropout or None,
            norm=("GROUP", {"num_groups": NORM_GROUPS}),
            blocks_down=config.blocks_down,
            blocks_up=config.blocks_up,
        )

    def forward(self, image: Float[Tensor, "batch channel k j i"]) -> Float[Tensor, "batch label k j i"]:
        """Logits on the grid of the image.

        Raises:
            ValueError: depth, height or width is not a multiple of `config.stride`.
        """
        stride = self.config.stride
        if any(n % stride for n in image.shape[2:]):
            fits = " x ".join(str(-(-n // stride) * stride) for n in image.shape[2:])
            raise ValueError(
                f"SegResNet needs depth, height and width in multiples of {stride}; got {tuple(image.shape[2:])}. "
                f"Pad the volume to {fits}."
            )
        logits: Tensor = self.network(image)
        return logits
