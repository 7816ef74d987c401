"""T2KD: joint distillation from two class-specific teachers into one light student.

Paper: Guo et al., J. Biomed. Eng. 2025, doi 10.7507/1001-5515.202311054. No code was released. Known: one
teacher for benign and one for malignant lesions, joint (dual-path) distillation, a weight-balance loss, an
Attention U-Net student of 2.2 M parameters. Inferred: all formulas and weights below
(`losses/distillation.py`, `losses/weight_balance.py`).

Stages, each a recipe:
  A0  t2kd_teacher            a teacher trained on all classes
  A1  t2kd_teacher_benign     A0 trained on with benign and normal images
      t2kd_teacher_malignant  A0 trained on with malignant and normal images
  B   t2kd_student            L = L_WB + 0.5 L_out + 0.1 L_att + 0.1 L_feat
The shipped model is stage B once more, t2kd_student_joint: from a student that was trained alone on two data sets
(t2kd_student_both_sets), with a plain loss in place of L_WB, and with normal images seen three times. It is trained on
without teachers at 192 x 192 (t2kd_student_fine), and the mean of the weights of the two is t2kd_busi.

Departures
  * Normal images take part in every stage, so that the student learns to say nothing. They have no
    teacher: their distillation weights are 0.
  * With `teachers_see = "clean"` each teacher looks at an image once, without augmentation, and its maps are
    moved with the student's geometric augmentation; a CPU then trains the student at its own speed.
  * A teacher may have been trained on smaller images than the student: it sees them at its own size, and its
    maps are enlarged to the student's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leanseg.errors import LeanSegError
from leanseg.losses.distillation import attention_map_loss, bottleneck_loss, softened_output_loss
from leanseg.networks.attention_unet import AttentionUNet, AttentionUNetFeatures
from leanseg.training.augment import move
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.objectives import Batch
from leanseg.training.recipe import DistillationConfig

_OUTSIDE_LOGIT = -8.0  # what a teacher says of pixels that the augmentation moved in from outside


def routing_weights(classes: Tensor, teacher_classes: tuple[str, ...], true_class_weight: float) -> Tensor:
    """(batch,) class indices -> (teacher, batch) weights; a class without a teacher gets none."""
    others = (1 - true_class_weight) / max(len(teacher_classes) - 1, 1)
    names = [LESION_CLASSES[int(c)] for c in classes]
    return torch.tensor(
        [
            [0.0 if name not in teacher_classes else true_class_weight if name == teacher else others for name in names]
            for teacher in teacher_classes
        ]
    )


def _maps(teacher: AttentionUNet, images: Tensor, size_ji: tuple[int, int]) -> AttentionUNetFeatures:
    """Teacher's forward pass; the bottleneck is averaged over channels at once, as its loss does anyway."""
    with torch.no_grad():
        logits, gates, bottleneck = teacher.features(_resized(images, size_ji))
    return AttentionUNetFeatures(logits.float(), [g.float() for g in gates], bottleneck.mean(1, keepdim=True).float())


def _resized(maps: Tensor, size_ji: tuple[int, ...]) -> Tensor:
    if maps.shape[-2:] == size_ji:
        return maps
    shrinks = maps.shape[-1] > size_ji[-1]
    return F.interpolate(maps, size=size_ji, mode="area") if shrinks else F.interpolate(maps, size_ji, mode="bilinear")


@dataclass
class JointDistillation:
    """The objective of stage B. Teachers are frozen: eval mode, no gradient, fixed batch-norm statistics."""

    teachers: Mapping[str, AttentionUNet]
    loss: Callable[[Tensor, Tensor], Tensor]
    config: DistillationConfig
    teacher_size_ji: tuple[int, int]
    """Height and width that the teachers were trained on."""

    def __post_init__(self) -> None:
        if not self.teachers:
            raise LeanSegError("Distillation needs teachers: set distillation.teachers to one run for each class.")
        self._clean: dict[str, AttentionUNetFeatures] = {}
        for teacher in self.teachers.values():
            teacher.eval().requires_grad_(False)

    def look_at(self, images: Tensor, batch_size: int = 32) -> None:
        """Let each teacher see every un-augmented training image once (needed for `teachers_see = "clean"`)."""
        for name, teacher in self.teachers.items():
            parts = [_maps(teacher, some, self.teacher_size_ji) for some in images.split(batch_size)]
            self._clean[name] = AttentionUNetFeatures(
                torch.cat([p.logits for p in parts]),
                [torch.cat(gates) for gates in zip(*(p.gates for p in parts), strict=True)],
                torch.cat([p.bottleneck for p in parts]),
            )

    def _teacher_maps(self, name: str, batch: Batch) -> AttentionUNetFeatures:
        if self.config.teachers_see == "augmented":
            return _maps(self.teachers[name], batch.images, self.teacher_size_ji)
        if name not in self._clean:
            raise LeanSegError("The teachers have not seen the training images. Call look_at(images) first.")
        logits, gates, bottleneck = self._clean[name]
        return AttentionUNetFeatures(
            move(logits[batch.indices] - _OUTSIDE_LOGIT, batch.grid) + _OUTSIDE_LOGIT,
            [move(gate[batch.indices], batch.grid) for gate in gates],
            move(bottleneck[batch.indices], batch.grid),
        )

    def __call__(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if not isinstance(network, AttentionUNet):
            raise LeanSegError(f"Joint distillation needs an AttentionUNet student; got {type(network).__name__}.")
        student = network.features(batch.images)
        logits, gates = student.logits.float(), [gate.float() for gate in student.gates]
        names = tuple(self.teachers)
        weights = routing_weights(batch.classes, names, self.config.true_class_weight)
        parts = {key: torch.zeros(()) for key in ("out", "att", "feat")}
        for name, weight in zip(names, weights, strict=True):
            if not weight.any():
                continue  # hard routing: this teacher has no image in the batch
            teacher = self._teacher_maps(name, batch)
            out = _resized(teacher.logits, logits.shape[-2:])
            att = [_resized(t, s.shape[-2:]) for t, s in zip(teacher.gates, gates, strict=True)]
            feat = _resized(teacher.bottleneck, student.bottleneck.shape[-2:])
            parts["out"] = parts["out"] + softened_output_loss(logits, out, weight, self.config.temperature)
            parts["att"] = parts["att"] + attention_map_loss(gates, att, weight)
            parts["feat"] = parts["feat"] + bottleneck_loss(student.bottleneck.float(), feat, weight)
        parts["seg"] = self.loss(logits, batch.targets)
        total = (
            parts["seg"]
            + self.config.output_weight * parts["out"]
            + self.config.attention_weight * parts["att"]
            + self.config.feature_weight * parts["feat"]
        )
        return total, parts
