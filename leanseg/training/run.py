"""From a recipe to a trained run folder: reads the cases, builds the objective, trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from leanseg.errors import LeanSegError
from leanseg.losses.pne import PNEConfig
from leanseg.networks.attention_unet import AttentionUNet
from leanseg.networks.blocks.residual_unet import ResidualUNet
from leanseg.networks.med_danet import MedDANet
from leanseg.networks.med_danet_v2 import MedDANetV2
from leanseg.networks.text_bcs import TextBCSConfig
from leanseg.schema import parse
from leanseg.training.adapt import Adaptation, with_base
from leanseg.training.class_guided import ClassGuided
from leanseg.training.data.arrays import TrainingArrays, load_parts
from leanseg.training.data.text_pairs import TextPairs, load_text_pairs
from leanseg.training.fremae import FreMAE, Pretrainer, VolumePretrainer
from leanseg.training.med_danet import DecisionTraining, load_bank
from leanseg.training.med_danet_v2 import SegmentationLoss, ThreePhases
from leanseg.training.objectives import Objective, Supervised, build_loss
from leanseg.training.pixel_contrast import PixelContrast, feature_channels
from leanseg.training.quantized import QuantizationAware
from leanseg.training.question_answering import train_questions
from leanseg.training.recipe import DecisionsConfig, DistillationConfig, Recipe, ThreePhasesConfig
from leanseg.training.referring import train_referring
from leanseg.training.t2kd import JointDistillation
from leanseg.training.text_guided import TextGuided
from leanseg.training.text_reading import check_width, load_reader
from leanseg.training.text_recipe import TextConfig
from leanseg.training.trainer import Report, Trainer, load_run
from leanseg.training.volumes import VolumeTrainer

Loss = Callable[[Tensor, Tensor], Tensor]


def train(recipe: Recipe, data: Path, folder: Path, resume: bool, report: Report) -> None:
    """Train `recipe` on the data sets below `data` into `folder`.

    Raises:
        LeanSegError: the recipe names data, teachers, members or losses that do not exist or do not fit.
    """
    if recipe.questions is not None:
        return train_questions(recipe, data, folder, resume, report)
    if recipe.referring is not None:
        return train_referring(recipe, data, folder, resume, report)
    recipe = with_base(recipe) if recipe.base else recipe
    load = load_parts if recipe.text is None else load_text_pairs
    train_arrays, val_arrays = (load(parts, data, recipe) for parts in (recipe.data.train, recipe.data.val))
    objective = _objective(recipe, train_arrays)
    if recipe.quantization is not None:
        objective = QuantizationAware(objective, recipe.quantization, recipe.optimizer.epochs)
    try:
        kinds = (Trainer, VolumeTrainer) if recipe.fremae is None else (Pretrainer, VolumePretrainer)
        kind: type[Trainer] = kinds[recipe.patches is not None]
        trainer = kind(recipe, train_arrays, val_arrays, objective, folder, report)
        if isinstance(objective, DecisionTraining) and recipe.decisions is not None:
            _begin_stage_2(trainer, objective, recipe.decisions)
        if isinstance(objective, TextGuided):
            for network in (trainer.network, trainer.mean):
                objective.start(network, new=_begins_anew(recipe))
        if recipe.average:
            trainer.average([Path(run) for run in recipe.average])
        else:
            trainer.fit(resume)
    except ValueError as error:  # an image size or config that the network refuses
        raise LeanSegError(f"The recipe {recipe.id} cannot be trained: {error}") from error


def _objective(recipe: Recipe, arrays: TrainingArrays) -> Objective:
    loss = build_loss(recipe.loss)
    if recipe.distillation is not None:
        return _joint_distillation(recipe.distillation, loss, arrays)
    if recipe.phases is not None:
        return _three_phases(recipe.phases, loss, recipe.loss.name, arrays)
    if recipe.decisions is not None:
        return DecisionTraining(recipe.decisions.cost_weight)
    if recipe.text is not None and isinstance(arrays, TextPairs):
        return _text_guided(recipe, recipe.text, arrays)
    if recipe.cga is not None:
        return ClassGuided(loss, recipe.cga)
    if recipe.fremae is not None:
        return FreMAE.of(recipe, arrays)
    if recipe.base:
        return Adaptation(loss, recipe.tune)
    if "pne" in recipe.loss.auxiliary:
        config = parse(PNEConfig, recipe.loss.auxiliary["pne"], "options of pne")
        return PixelContrast(loss, config, feature_channels(recipe), recipe.seed)
    return Supervised(loss)


def _begins_anew(recipe: Recipe) -> bool:
    """Whether all but the encoder is: a pre-training gives no more."""
    return not recipe.init or load_run(Path(recipe.init))[0].fremae is not None


def _text_guided(recipe: Recipe, config: TextConfig, pairs: TextPairs) -> TextGuided:
    reader = load_reader(config)
    network = parse(TextBCSConfig, recipe.config, "recipe.config")
    if (reader is not None) != network.text:
        raise LeanSegError(
            f"config.text is {network.text}, text.encoder is {config.encoder!r}. Give an encoder, or set text to false."
        )
    check_width(reader, network.text_width)
    return TextGuided(pairs, config, reader, recipe.seed)


def _joint_distillation(config: DistillationConfig, loss: Loss, arrays: TrainingArrays) -> JointDistillation:
    teachers, sizes = {}, set()
    for name, run in config.teachers.items():
        teacher_recipe, network = load_run(Path(run))
        if not isinstance(network, AttentionUNet):
            raise LeanSegError(f"The teacher {run} is a {teacher_recipe.network}; an attention_unet is needed.")
        teachers[name] = network
        sizes.add(teacher_recipe.size_ji)
    if len(sizes) > 1:
        raise LeanSegError(f"The teachers were trained on images of different size ({sizes}). Use one size.")
    objective = JointDistillation(teachers, loss, config, sizes.pop() if sizes else (0, 0))
    if config.teachers_see == "clean":
        objective.look_at(arrays.images)
    return objective


def _three_phases(config: ThreePhasesConfig, loss: Loss, name: str, arrays: TrainingArrays) -> ThreePhases:
    if not isinstance(loss, SegmentationLoss):
        raise LeanSegError(f"[phases] needs a loss of mixed probabilities, regions or softmax_dice; got {name}.")
    return ThreePhases(loss, config, (arrays.images, arrays.targets))


def _begin_stage_2(trainer: Trainer, objective: DecisionTraining, config: DecisionsConfig) -> None:
    """Put the trained members into both copies of the network, and label every training slice once."""
    assert isinstance(trainer.network, MedDANet) and isinstance(trainer.mean, MedDANet)
    members = [_member(run, trainer.recipe) for run in config.bank]
    load_bank(trainer.network, members)
    load_bank(trainer.mean, members)
    objective.look_at(trainer.network, trainer.train.images, trainer.train.targets)


def _member(run: str, recipe: Recipe) -> ResidualUNet:
    """A trained member of the bank, or what segments whole slices in a Med-DANet V2.

    Of the same grid and the same training cases, so that no held-out case leaks in.
    """
    of_member, network = load_run(Path(run))
    if isinstance(network, MedDANetV2):
        network = network.static()
    if not isinstance(network, ResidualUNet):
        raise LeanSegError(f"The member {run} is a {of_member.network}; a residual_unet or med_danet_v2 is needed.")
    for what, its, ours in (
        ("preprocessing", of_member.brain, recipe.brain),
        ("training data", of_member.data.train, recipe.data.train),
    ):
        if its != ours:
            raise LeanSegError(f"The member {run} has other {what} than {recipe.id}: {its}, not {ours}. Use the same.")
    return network
