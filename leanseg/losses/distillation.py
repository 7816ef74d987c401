"""Distillation terms of T2KD. All are inferred (the paper names the idea, not the formulas).

Every function takes `weight`, one number an image: the routing weight w_t of this teacher. Teacher tensors
carry no gradient; callers compute them under `torch.no_grad()`.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def softened_output_loss(
    student: Float[Tensor, "batch 1 height width"],
    teacher: Float[Tensor, "batch 1 height width"],
    weight: Float[Tensor, " batch"],
    temperature: float = 4.0,
) -> Float[Tensor, ""]:
    """L_out = temperature^2 * w * KL(sigmoid(z_t / temperature) || sigmoid(z_S / temperature)), mean over pixels.

    Takes logits. temperature^2 keeps the gradient's size nearly independent of the temperature.
    """
    teacher, student = teacher / temperature, student / temperature
    p = torch.sigmoid(teacher)
    cross_entropy = F.binary_cross_entropy_with_logits(student, p, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(teacher, p, reduction="none")
    divergence = (cross_entropy - entropy).mean(dim=(1, 2, 3))
    return temperature**2 * (weight * divergence).mean()


def attention_map_loss(
    student: list[Tensor], teacher: list[Tensor], weight: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """L_att = sum over gates of w * || psi_t / ||psi_t|| - psi_S / ||psi_S|| ||^2; each psi is (batch, 1, h, w)."""
    terms = [_distance_of_directions(s, t) for s, t in zip(student, teacher, strict=True)]
    return (weight * torch.stack(terms).sum(dim=0)).mean()


def bottleneck_loss(
    student: Float[Tensor, "batch narrow h w"],
    teacher: Float[Tensor, "batch wide h w"],
    weight: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """L_feat = w * || norm(mean_c F_t) - norm(mean_c F_S) ||^2; the mean over channels needs no adapter."""
    distance = _distance_of_directions(student.mean(dim=1, keepdim=True), teacher.mean(dim=1, keepdim=True))
    return (weight * distance).mean()


def _distance_of_directions(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of the two unit vectors that each image's map flattens to: (batch,)."""
    difference = F.normalize(a.flatten(1), dim=1) - F.normalize(b.flatten(1), dim=1)
    return difference.square().sum(dim=1)
