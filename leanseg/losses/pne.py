"""PNE loss: features of misclassified pixels are pulled to those of well classified ones, of the same class and not.

Paper: arXiv 2207.01417 (Neurocomputing); no code was released. Known from the abstract: a supervised contrastive loss
of pixels that any segmentation network can take on at no cost in use; hard means misclassified; features that are
learned well are the resource; positive and negative pairs are treated equally. Inferred: everything below.

    H_c, E_c  pixels of class c that the network gets wrong, and right
    a         anchor: the embedding of a pixel of H_c; the mean of the positives if H_c is empty
    P, N      mean of exp(a . x / tau) over M embeddings x of E_c, and over as many of other classes' E
    L         -log(P / (P + N)), mean over the anchors of a class, then over the classes

so that swapping the two kinds of pairs turns L(s) into L(-s), s = log P - log N, and their numbers do not count. (The
usual supervised InfoNCE sets each positive against the sum of all negatives.)

Departures and inferences
  * The projection (1 x 1 convolution, batch norm, ReLU, 1 x 1 convolution, length 1) runs on the pixels that were
    drawn alone, at most 4,096 for two classes; eight images of 128 x 128 have 131,072. Its batch norm sees no others.
  * A class of which nothing is right, or beside which nothing is right, has no pair and is left out. Without a hard
    pixel in the batch, or with one class alone, the loss is 0.
  * Defaults are inferred: tau = 0.1, weight 0.1, 256 channels, at most 1024 anchors of a class, M = 512, no loss in
    the first tenth of the training, no gradient into positives and negatives.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class PNEConfig:
    """All values are inferred."""

    weight: float = 0.1
    """Of this loss beside the one of the logits."""
    temperature: float = 0.1
    width: int = 256
    """Channels of an embedding."""
    anchors: int = 1024
    """At most so many of a class and batch."""
    pairs: int = 512
    """M: at most so many positives, and as many negatives, of a class and batch."""
    warmup: float = 0.1
    """Fraction of the epochs before this loss begins, so that there are pixels that are classified well."""
    detach_pairs: bool = True
    """Positives and negatives stay where they are; False: they move too."""
    ignore_index: int = -1
    """Label of pixels that are never drawn."""

    def __post_init__(self) -> None:
        if min(self.temperature, self.width, self.anchors, self.pairs) <= 0 or self.weight < 0:
            raise ValueError(
                "temperature, width, anchors and pairs must be positive, weight 0 or more; got "
                f"{self.temperature}, {self.width}, {self.anchors}, {self.pairs} and {self.weight}."
            )
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a fraction from 0 to below 1; got {self.warmup}.")


class Drawn(NamedTuple):
    """Pixels of one class, as positions in a list of all pixels."""

    anchors: Int[Tensor, " anchor"]
    """Of H_c; all of `positives` if it is empty, and then their mean is the anchor."""
    positives: Int[Tensor, " pair"]
    negatives: Int[Tensor, " pair"]
    are_hard: bool


class PixelProjection(nn.Module):
    """Features of single pixels to embeddings of length 1; trained with the loss, and left out of what is exported."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, in_channels),
            nn.BatchNorm1d(in_channels),
            nn.ReLU(inplace=True),
            nn.Linear(in_channels, width),
        )

    def forward(self, features: Float[Tensor, "pixel channel"]) -> Float[Tensor, "pixel width"]:
        return F.normalize(self.layers(features), dim=1)


def equal_contrast(
    positives: Float[Tensor, "anchor positive"], negatives: Float[Tensor, "anchor negative"]
) -> Float[Tensor, " anchor"]:
    """-log(P / (P + N)) of each anchor, from a . x / tau of its pairs."""
    log_p, log_n = (pairs.logsumexp(dim=1) - math.log(pairs.shape[1]) for pairs in (positives, negatives))
    return F.softplus(log_n - log_p)


def on_grid(labels: Int[Tensor, "batch height width"], size_ji: tuple[int, int]) -> Int[Tensor, "batch h w"]:
    """Labels on the grid of the features: those of the nearest pixels."""
    if labels.shape[1:] == size_ji:
        return labels
    return F.interpolate(labels[:, None].float(), size_ji, mode="nearest-exact")[:, 0].to(labels.dtype)


def draw(
    labels: Int[Tensor, " pixel"],
    predicted: Int[Tensor, " pixel"],
    config: PNEConfig,
    generator: torch.Generator | None = None,
) -> list[Drawn]:
    """Pixels for every class that has pairs; none if no pixel is hard."""
    valid = labels != config.ignore_index
    right = (labels == predicted) & valid
    if not (valid & ~right).any():
        return []
    drawn = []
    for c in labels[valid].unique():
        of_class = labels == c
        hard, easy, others = (mask.nonzero()[:, 0] for mask in (of_class & ~right, of_class & right, right & ~of_class))
        pairs = min(config.pairs, len(easy), len(others))
        if not pairs:
            continue
        positives, negatives = (_some(each, pairs, generator) for each in (easy, others))
        are_hard = len(hard) > 0
        anchors = _some(hard, config.anchors, generator) if are_hard else positives
        drawn.append(Drawn(anchors, positives, negatives, are_hard))
    return drawn


def _some(pixels: Int[Tensor, " pixel"], number: int, generator: torch.Generator | None) -> Int[Tensor, " some"]:
    return pixels[torch.randperm(len(pixels), generator=generator)[:number].to(pixels.device)]


def pne_loss(
    features: Float[Tensor, "batch channel h w"],
    labels: Int[Tensor, "batch height width"],
    predicted: Int[Tensor, "batch height width"],
    project: Callable[[Tensor], Tensor],
    config: PNEConfig,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """L, without its weight, for the features that a decoder's last layer sees; `project` is a `PixelProjection`."""
    size_ji = (features.shape[2], features.shape[3])
    drawn = draw(on_grid(labels, size_ji).flatten(), on_grid(predicted, size_ji).flatten(), config, generator)
    pixels = features.movedim(1, -1).flatten(0, 2)
    if not drawn:
        return pixels[:0].float().sum()
    indices = torch.cat([part for each in drawn for part in each[:3]])
    embedded = iter(project(pixels[indices].float()).split([len(part) for each in drawn for part in each[:3]]))
    losses = []
    for each in drawn:
        anchors, positives, negatives = (next(embedded) for _ in range(3))
        if not each.are_hard:
            anchors = F.normalize(anchors.mean(dim=0, keepdim=True), dim=1)
        if config.detach_pairs:
            positives, negatives = positives.detach(), negatives.detach()
        to_positives, to_negatives = (anchors @ x.T / config.temperature for x in (positives, negatives))
        losses.append(equal_contrast(to_positives, to_negatives).mean())
    return torch.stack(losses).mean()
