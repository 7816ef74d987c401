"""A recipe is everything that decides a training run, as data: TOML in, JSON into the card."""

from __future__ import annotations

import dataclasses
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.losses.class_centers import ClassGuidanceConfig
from leanseg.processing.brain import BrainPreprocessingConfig
from leanseg.processing.preprocess import PreprocessingConfig
from leanseg.quantization.config import QuantizationConfig
from leanseg.schema import parse
from leanseg.training.augment import AugmentConfig, SequenceAugmentConfig
from leanseg.training.data.case import LESION_CLASSES
from leanseg.training.data.patches import PatchesConfig
from leanseg.training.deployment import DeploymentConfig
from leanseg.training.fremae_recipe import FreMAEConfig
from leanseg.training.loss_recipe import LossConfig, spell_out_losses
from leanseg.training.question_recipe import QuestionsConfig
from leanseg.training.referring_recipe import ReferringTrainingConfig
from leanseg.training.settings import assign
from leanseg.training.text_recipe import TextConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NETWORKS_3D = ("segresnet", "trans_bts", "trans_bts_v2", "cga_unet", "med_tuning")
RECIPES = Path(__file__).parent / "recipes"
_NEEDS = (
    ("phases", "med_danet_v2"),
    ("decisions", "med_danet"),
    ("text", "text_bcs"),
    ("questions", "mf2_mvqa"),
    ("referring", "cm_mask_sd"),
    ("cga", "cga_unet"),
)


@dataclass(frozen=True)
class DataConfig:
    """Which cases are trained and validated on."""

    train: tuple[str, ...] = ("busi:train",)
    """Parts of data sets, `name:split`."""
    val: tuple[str, ...] = ("busi:val",)
    classes: tuple[str, ...] = ("normal", "benign", "malignant")
    """Training is restricted to these lesion classes; validation too."""
    empty_fraction: float = 1.0
    """Of the images without lesion, or slices without tumor, so many are drawn in an epoch, others each time."""

    def __post_init__(self) -> None:
        if not 0 <= self.empty_fraction <= 1:
            raise ValueError(f"empty_fraction lies between 0 and 1; got {self.empty_fraction}.")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine to 1 % of the rate."""

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    epochs: int = 60
    batch_size: int = 16
    warmup_epochs: float = 1.0
    ema_decay: float = 0.995
    """Of the running mean of the weights, which is what is validated and exported; 0 switches it off."""
    bf16: bool = True
    """bfloat16 autocast with channels-last memory: faster on CPUs that multiply bfloat16."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0 or not 0 <= self.ema_decay < 1:
            raise ValueError("epochs, batch_size and learning_rate must be positive, ema_decay from 0 to below 1.")


@dataclass(frozen=True)
class DistillationConfig:
    """Joint distillation from one teacher per lesion class (T2KD, stage B; weights inferred)."""

    teachers: dict[str, str] = field(default_factory=dict)
    """Lesion class -> run folder of its teacher."""
    true_class_weight: float = 0.9
    """w of the true class' teacher; the others share the rest. 1 is hard routing."""
    temperature: float = 4.0
    output_weight: float = 0.5
    attention_weight: float = 0.1
    feature_weight: float = 0.1
    teachers_see: str = "clean"
    """`clean`: each image once, its maps then move with the student's geometry; `augmented`: what the student sees."""

    def __post_init__(self) -> None:
        for name in self.teachers:
            if name not in LESION_CLASSES:
                raise UnknownNameError("lesion class", name, LESION_CLASSES)
        if not 0 <= self.true_class_weight <= 1 or self.temperature <= 0:
            raise ValueError("true_class_weight lies between 0 and 1, the temperature is positive.")
        if self.teachers_see not in ("clean", "augmented"):
            raise UnknownNameError("teachers_see", self.teachers_see, ("clean", "augmented"))


@dataclass(frozen=True)
class ThreePhasesConfig:
    """Training of Med-DANet V2 (training/med_danet_v2.py). The paper has 350 epochs and borders at 150 and 300."""

    quantize_from: float = 150 / 350
    """Fraction of the epochs after which bits are selected."""
    decide_from: float = 300 / 350
    """Fraction of the epochs after which only the decision network learns."""
    cost_weight: float = 0.00015
    """Of the GMACs of all branches, summed over the batch, in phase 2."""
    decision_cost_weight: float = 0.02
    """Of the GMACs of the chosen branches, summed over the batch, in phase 3."""
    temperature: float = 1.0
    decision_lr_factor: float = 10.0
    """The decision network learns so many times faster."""
    label_cost_weight: float | None = None
    """None: phase 3 as in the paper. A number: the decision network learns labels, with this lambda, as Med-DANet's."""
    seed: int = 0
    """Of the Gumbel noise."""

    def __post_init__(self) -> None:
        if not 0 <= self.quantize_from <= self.decide_from <= 1:
            raise ValueError(
                f"0 <= quantize_from <= decide_from <= 1 is needed; got {self.quantize_from}, {self.decide_from}."
            )
        if min(self.temperature, self.decision_lr_factor) <= 0 or min(self.cost_weight, self.decision_cost_weight) < 0:
            raise ValueError("temperature and decision_lr_factor must be positive, cost weights 0 or more.")
        if self.label_cost_weight is not None and self.label_cost_weight < 0:
            raise ValueError(f"label_cost_weight must be 0 or more; got {self.label_cost_weight}.")

    def phase(self, epoch: int, epochs: int) -> int:
        """1, 2 or 3; epochs count from 0."""
        borders = (round(self.quantize_from * epochs), round(self.decide_from * epochs))
        return 1 + sum(epoch >= border for border in borders)


@dataclass(frozen=True)
class DecisionsConfig:
    """Stage 2 of Med-DANet: a decision network for a bank that is trained (training/med_danet.py)."""

    bank: tuple[str, ...] = ()
    """Run folder of each member, in the order of the network's `bank_widths`."""
    cost_weight: float = 0.05
    """lambda: how many points of Dice the largest member must win against one that costs nothing."""

    def __post_init__(self) -> None:
        if self.cost_weight < 0:
            raise ValueError(f"cost_weight must be 0 or more; got {self.cost_weight}.")


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    id: str
    system: str
    network: str
    config: dict[str, Any] = field(default_factory=dict)
    """Constructor values of the network."""
    seed: int = 0
    init: str = ""
    """Run folder whose exported weights are the start, or whose encoder of a pre-training; empty: random."""
    base: str = ""
    """Bundle, by id or folder, whose frozen network is adapted (training/adapt.py); the network is then "base"."""
    tune: tuple[str, ...] = ("head",)
    """What of the base learns beside its adapters: `head`, `norms`."""
    average: tuple[str, ...] = ()
    """Runs of the same network: the mean of their weights is the result, nothing is trained (arXiv 2109.01903)."""
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    brain: BrainPreprocessingConfig | None = None
    """Of brains; takes the place of `preprocessing`, and `sequences` that of the intensities in `augment`."""
    patches: PatchesConfig | None = None
    """Of a network that sees three dimensions: it is trained on patches of volumes."""
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    sequences: SequenceAugmentConfig = field(default_factory=SequenceAugmentConfig)
    distillation: DistillationConfig | None = None
    phases: ThreePhasesConfig | None = None
    """What `med_danet_v2` is trained with."""
    decisions: DecisionsConfig | None = None
    """What `med_danet` is trained with."""
    deployment: DeploymentConfig = field(default_factory=DeploymentConfig)
    """Of both, after training."""
    text: TextConfig | None = None
    """What `text_bcs` is trained with."""
    questions: QuestionsConfig | None = None
    """What `mf2_mvqa` is trained with."""
    referring: ReferringTrainingConfig | None = None
    """What `cm_mask_sd` is trained with."""
    cga: ClassGuidanceConfig | None = None
    """What `cga_unet` is trained with."""
    fremae: FreMAEConfig | None = None
    """Pre-training of the encoder without labels."""
    quantization: QuantizationConfig | None = None
    """Of a network that learns to be quantized, alone or with teachers."""

    def __post_init__(self) -> None:
        self._check_method()
        self._check_patches()

    def _check_method(self) -> None:
        """At most one way to train, and the one that the network needs.

        Raises:
            ValueError: sections that exclude each other, or one that the network needs or cannot use.
        """
        ways = {name: getattr(self, name) for name in ("distillation", *dict(_NEEDS), "fremae")}
        chosen = [name for name, section in ways.items() if section is not None]
        chosen += [name for name in ("average", "base") if getattr(self, name)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other. Keep one of them.")
        if self.quantization is not None and chosen not in ([], ["distillation"]):
            raise ValueError(f"quantization and {chosen[0]} exclude each other. Keep one of them.")
        more = {"quantization": self.quantization, "patches": self.patches}
        self.loss.check_alone([*chosen, *(name for name, section in more.items() if section is not None)])
        for name, network in _NEEDS:
            if name in chosen and self.network != network:
                raise ValueError(f"[{name}] trains a {network}; the network is {self.network}. Leave [{name}] out.")
            is_picture = name in ("text", "questions", "referring")
            if name in chosen and (self.brain is None) != is_picture:
                how = "does without [brain]" if is_picture else "needs slices of brains. Add a section [brain]"
                raise ValueError(f"[{name}] {how}.")
            if self.network == network and name not in chosen and not (self.average or self.fremae):
                learns = "learns to decide" if name in ("phases", "decisions") else "learns"
                raise ValueError(f"a {network} {learns} by [{name}] only. Add a section [{name}].")
        if self.decisions is not None and self.init:
            raise ValueError("init and decisions.bank both give the weights of the bank. Leave init out.")

    def _check_patches(self) -> None:
        """[patches] where the network sees three dimensions, and nowhere else.

        Raises:
            ValueError: not so, or patches that are larger than slices.
        """
        is_3d, others = self.network in NETWORKS_3D, (self.distillation, self.phases, self.decisions)
        if is_3d != (self.patches is not None) or (is_3d and (self.brain is None or any(others))):
            raise ValueError(
                f"{' and '.join(NETWORKS_3D)} need [patches] and [brain] and no other method, and only they do; the "
                f"network is {self.network}."
            )
        if is_3d and self.config.get("out_channels", 4) != 4:
            raise ValueError(
                f"brains have 4 classes, background, necrosis, edema and enhancing tumor; out_channels is "
                f"{self.config['out_channels']}. Leave it out."
            )
        if self.patches is not None:
            (_, height, width), (j, i) = self.patches.size_kji, self.size_ji
            if height > j or width > i:
                raise ValueError(f"patches of {height} x {width} do not fit into slices of {j} x {i}.")

    @property
    def size_ji(self) -> tuple[int, int]:
        """Height and width that the network sees."""
        return self.preprocessing.size_ji if self.brain is None else self.brain.size_ji

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """Raises LeanSegError for an unknown key or a value of the wrong type."""
        return typing.cast(Recipe, parse(cls, values, "recipe"))


def load_recipe(name: str, overrides: typing.Iterable[str] = ()) -> Recipe:
    """A recipe by file path or by the name of one that LeanSeg ships, changed by `key=value` settings.

    Raises:
        UnknownNameError: neither a file nor a shipped recipe.
        LeanSegError: an unknown key, or a value that does not fit.
    """
    path = Path(name)
    if not path.is_file():
        path = RECIPES / (name if name.endswith(".toml") else f"{name}.toml")
    if not path.is_file():
        raise UnknownNameError("recipe", name, (p.stem for p in RECIPES.glob("*.toml")))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise LeanSegError(f"{path} is not valid TOML: {error}.") from error
    assign(values, overrides)
    spell_out_losses(values)
    return Recipe.from_json(values)
