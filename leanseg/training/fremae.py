"""FreMAE: an encoder learns from images without labels, by the spectrum of what was hidden from it.

Paper: Wang et al., FreMAE: Fourier transform meets masked autoencoders for medical image segmentation, arXiv
2304.10864, published as FreMIM, WACV 2024. The code of the authors is public; nothing was taken from it, this file was
written from published facts.

A quarter of the pixels of the foreground is replaced by a token that is learned, in all sequences at once. From the
features of all levels of the encoder, the details (high-pass spectrum) of the clean image are predicted at full size,
and the rest (low-pass) at a quarter of it:  L = 1.0 L_high + 1.3 L_low, both the focal frequency loss.

Departures from the released code
  * Any encoder of `networks/encoders.py` with any number of levels, 2-D or 3-D; the features of level 1 feed the
    details whatever their number, so no feature size is fixed.
  * A pixel is foreground if all sequences that the image has are non-zero there; one that is missing altogether does
    not count. There, all four must be non-zero. In ultrasound that is every pixel above 0.
  * Only spatial axes of spectra are shifted.
  * The learning rate, its decay and the augmentation of the clean image are those of the recipe.
Inferred
  * Masking comes before the change of intensities of each column, so that the token is changed as well.

What is behind the encoder belongs to this objective: it is kept to go on with, and never part of the run's weights.
A run that names this one as `init` takes the encoder alone (training/start.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.losses.frequency import focal_frequency_loss, low_pass
from leanseg.networks import build_network
from leanseg.networks.blocks.fremae import LOW_STRIDE, BilateralDecoder
from leanseg.networks.encoders import encode, encoder_parameters, encoder_shape
from leanseg.training.data.arrays import TrainingArrays
from leanseg.training.data.patches import cut_patches
from leanseg.training.fremae_recipe import FreMAEConfig
from leanseg.training.objectives import Batch
from leanseg.training.recipe import Recipe
from leanseg.training.trainer import Trainer
from leanseg.training.volumes import VolumeTrainer


def foreground(images: Tensor) -> Tensor:
    """(batch, channel, *grid) -> (batch, *grid), bool: where every sequence that the image has is non-zero."""
    present = images.flatten(2).any(dim=2).view(*images.shape[:2], *(1,) * (images.ndim - 2))
    result: Tensor = ((images != 0) | ~present).all(dim=1) & present.any(dim=1)
    return result


def random_mask(pixels: Tensor, ratio: float, generator: Generator) -> Tensor:
    """True for this part of the true `pixels` of a whole batch, chosen at random."""
    places = pixels.flatten().nonzero().flatten()
    chosen = torch.randperm(len(places), generator=generator)[: round(ratio * len(places))]
    mask = torch.zeros(pixels.numel(), dtype=torch.bool)
    mask[places[chosen]] = True
    return mask.view_as(pixels)


def changed_columns(images: Tensor, gain: float, offset: float, generator: Generator) -> Tensor:
    """Another scale and shift for each image, sequence and column."""
    each = (*images.shape[:2], *(1,) * (images.ndim - 3), images.shape[-1])
    factor, summand = (2 * torch.rand(each, generator=generator) - 1 for _ in range(2))
    return images * (1 + gain * factor) + offset * summand


class FreMAE(nn.Module):
    """A `PhasedObjective` that trains the encoder of a network, and what is behind it."""

    def __init__(
        self, config: FreMAEConfig, channels: tuple[int, ...], in_channels: int, size: tuple[int, ...]
    ) -> None:
        super().__init__()
        if any(n % LOW_STRIDE for n in size):
            raise ValueError(f"FreMAE needs sizes in multiples of {LOW_STRIDE}; got {size}.")
        self.config = config
        self.token = nn.Parameter(torch.ones(in_channels, *(1,) * len(size)))
        self.decoder = BilateralDecoder(channels, in_channels, size, config.low_channels, config.frequency_bias)
        self.seed = 0
        self.generator = torch.Generator()

    @classmethod
    def of(cls, recipe: Recipe, arrays: TrainingArrays) -> FreMAE:
        """For a recipe with [fremae], drawn from its seed.

        Raises:
            UnknownNameError: a network whose encoder is not known.
            LeanSegError: no pixel of the data is foreground.
        """
        assert recipe.fremae is not None
        size = recipe.size_ji if recipe.patches is None else recipe.patches.size_kji
        if not any(foreground(image[None].float()).any() for image in arrays.images):
            raise LeanSegError(
                "No pixel of the images can be masked: a foreground pixel is non-zero in every sequence that the image "
                "has. Check that the images are not blank."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            shape = encoder_shape(build_network(recipe.network, recipe.config), arrays.images.shape[1], size)
            objective = cls(recipe.fremae, shape.channels, arrays.images.shape[1], size)
        objective.seed = recipe.seed
        return objective

    def begin_epoch(self, network: nn.Module, epoch: int, epochs: int) -> None:
        """Seeds every draw of this epoch."""
        self.train()
        self.generator.manual_seed(self.seed * 100_003 + epoch + 11)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """The encoder, and what is behind it; the network's own decoder rests."""
        learned = [*encoder_parameters(network), *self.parameters()]
        return [{"params": learned, "lr_factor": 1.0, "starts_at": 0.0}]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """The image of details; nothing is decided from it."""
        details: Tensor = self.decoder(encode(network, images))[0]
        return details

    def hidden(self, images: Tensor) -> Tensor:
        """What the encoder sees: masked, then changed; the same everywhere else."""
        mask = random_mask(foreground(images), self.config.mask_ratio, self.generator).unsqueeze(1)
        masked = torch.where(mask, self.token, images)
        return changed_columns(masked, self.config.gain, self.config.offset, self.generator)

    def losses(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """L_high and L_low of clean images."""
        details, rest = self.decoder(encode(network, self.hidden(images)))
        axes = images.ndim - 2
        small = (F.avg_pool2d if axes == 2 else F.avg_pool3d)(images, LOW_STRIDE)
        high = ~low_pass(tuple(images.shape[2:]), self.config.half_width)
        low = low_pass(tuple(small.shape[2:]), self.config.half_width)
        return focal_frequency_loss(details.float(), images, high), focal_frequency_loss(rest.float(), small, low)

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        high, low = self.losses(network, batch.images.contiguous())
        return self.config.high_weight * high + self.config.low_weight * low, {"high": high, "low": low}


if TYPE_CHECKING:
    _Base = Trainer
else:
    _Base = object


class _Reconstruction(_Base):
    """Validates by the loss: there is nothing to compare a segmentation with.

    It is that of the network that learns: the decoder has no running mean, and fits no other encoder.
    """

    def validate(self) -> dict[str, float]:
        objective = self.objective
        assert isinstance(objective, FreMAE)
        objective.eval()
        self.network.eval()
        objective.generator.manual_seed(objective.seed)  # hides the same pixels after every epoch
        total = 0.0
        batches = torch.arange(len(self.val)).split(self.recipe.optimizer.batch_size)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimizer.bf16):
            for chosen in batches:
                high, low = objective.losses(self.network, self._images(chosen))
                loss = objective.config.high_weight * high + objective.config.low_weight * low
                total += float(loss) * len(chosen) / len(self.val)
        return {"val_loss": total}

    def _images(self, chosen: Tensor) -> Tensor:
        if self.recipe.patches is None:
            return self.val.images[chosen].float()
        generator = torch.Generator().manual_seed(self.recipe.seed)
        return cut_patches(self.val.images, self.val.targets, chosen, self.recipe.patches, generator)[0]


class Pretrainer(_Reconstruction, Trainer):
    """Pre-training on slices or pictures."""


class VolumePretrainer(_Reconstruction, VolumeTrainer):
    """Pre-training on patches of volumes."""
