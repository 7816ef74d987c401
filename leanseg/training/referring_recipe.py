"""What a recipe says about a network that outlines what a sentence refers to."""

from __future__ import annotations

from dataclasses import dataclass

from leanseg.errors import UnknownNameError
from leanseg.prompts.referring import KINDS

COMPOUND = ("order", "relation")
"""Kinds that are said with other kinds of words together."""


@dataclass(frozen=True)
class ReferringTrainingConfig:
    """Section [referring] of a recipe."""

    start: str = ""
    """Id of a bundle, or safetensors file, of an `attention_unet` with whose encoder, or the first stages of it, the
    small dual encoder starts; empty: random."""
    encoder_lr_factor: float = 0.5
    """Of that encoder, where it has a start. CRIS: 0.1 for a CLIP."""
    per_part: int = 400
    """Pictures that are drawn of each part of the data in an epoch, others each time, all where there are fewer."""
    per_picture: int = 2
    """Sentences about each scene in a batch: what differs between them is the words alone."""
    most_objects: int = 5
    """Of a scene that is composed."""
    alone: float = 0.1
    """Probability that a picture of one object, or none, stays as it is."""
    kinds: tuple[str, ...] = KINDS
    """Of sentences, in training and validation"""
    simple_until: float = 0.0
    """Fraction of the epochs before which nothing is said by order or relation: with all at once, words mean nothing
    for long."""
    masked_from: float = 0.0
    """Fraction of the epochs from which the masked branches learn; 0, the paper's, is from the first step. Before the
    main branch has learned something there is little to distill, and they cost more than half of a step."""
    absent_fraction: float = 0.2
    """Of the sentences, that nothing is what they mean."""
    drop_word: float = 0.0
    """Probability of each word of a sentence that it is unknown."""
    masked_weight: float = 0.5
    """beta"""
    distillation_weight: float = 1.0
    """lambda; 0 with config.masked = false is the baseline."""
    temperature: float = 1.0
    existence_weight: float = 0.5
    correlation_weight: float = 0.0
    """Ours; the paper's is 0. See losses/masked_distillation.py."""
    objects_weight: float = 1.0
    """Of the lesson of all objects; ours, where `config.finds_objects`."""
    val_pairs: int = 60
    """Sentences about each part of the validation data, the same ones after each epoch."""

    def __post_init__(self) -> None:
        if min(self.per_part, self.per_picture, self.val_pairs) < 1 or self.most_objects < 2:
            raise ValueError("per_part, per_picture and val_pairs must be positive, most_objects at least 2.")
        fractions = (self.alone, self.absent_fraction, self.simple_until, self.masked_from)
        if min(fractions) < 0 or max(fractions) > 1:
            raise ValueError("alone, absent_fraction, simple_until and masked_from lie from 0 to 1.")
        for kind in self.kinds:
            if kind not in KINDS:
                raise UnknownNameError("kind of referring sentences", kind, KINDS)
        if not set(self.kinds) - set(COMPOUND):
            raise ValueError(f"kinds needs one beside {' and '.join(COMPOUND)}.")
        if not 0 <= self.drop_word < 1 or min(self.encoder_lr_factor, self.objects_weight) < 0:
            raise ValueError("drop_word lies from 0 to below 1, encoder_lr_factor and objects_weight are 0 or more.")
