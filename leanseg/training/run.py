"""From a recipe to a trained run folder: reads the cases, builds the objective, trains."""

from __future__ import annotations

from pathlib import Path

from leanseg.errors import LeanSegError
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.training.data.arrays import load_parts
from leanseg.training.objectives import Objective, Supervised, build_loss
from leanseg.training.recipe import Recipe
from leanseg.training.t2kd import JointDistillation
from leanseg.training.trainer import Report, Trainer, load_run


def train(recipe: Recipe, data: Path, folder: Path, resume: bool, report: Report) -> None:
    """Train `recipe` on the data sets below `data` into `folder`.

    Raises:
        LeanSegError: the recipe names data, teachers or losses that do not exist.
    """
    train_arrays, val_arrays = (load_parts(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    loss = build_loss(recipe.loss)
    objective: Objective = Supervised(loss)
    if recipe.distillation is not None:
        teachers, sizes = {}, set()
        for name, run in recipe.distillation.teachers.items():
            teacher_recipe, network = load_run(Path(run))
            if not isinstance(network, AttentionUNet):
                raise LeanSegError(f"The teacher {run} is a {teacher_recipe.network}; an attention_unet is needed.")
            teachers[name] = network
            sizes.add(teacher_recipe.size_ji)
        if len(sizes) > 1:
            raise LeanSegError(f"The teachers were trained on images of different size ({sizes}). Use one size.")
        objective = JointDistillation(teachers, loss, recipe.distillation, sizes.pop() if sizes else (0, 0))
        if recipe.distillation.teachers_see == "clean":
            objective.look_at(train_arrays.images)
    try:
        trainer = Trainer(recipe, train_arrays, val_arrays, objective, folder, report)
        if recipe.average:
            trainer.average([Path(run) for run in recipe.average])
        else:
            trainer.fit(resume)
    except ValueError as error:  # an image size or config that the network refuses
        raise LeanSegError(f"The recipe {recipe.id} cannot be trained: {error}") from error
