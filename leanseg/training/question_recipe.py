"""What a recipe says about a network that answers questions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuestionsConfig:
    """Section [questions] of a recipe."""

    start: str = ""
    """Id of a bundle, or safetensors file, of an `attention_unet` whose encoder starts the backbone; empty: random."""
    words: str = ""
    """Folder of a pretrained text encoder whose word vectors are the start of ours; empty: random."""
    common_words: int = 3000
    """Of its most frequent words, so many are in the vocabulary beside those of the training questions."""
    backbone_lr_factor: float = 0.5
    word_lr_factor: float = 0.5
    per_part: int = 300
    """Pictures that are drawn of each part of the data in an epoch, others each time, all where there are fewer."""
    per_picture: int = 8
    """Questions that are drawn of each of them, all where there are fewer."""
    label_smoothing: float = 0.1
    type_weight: float = 0.2
    drop_word: float = 0.1
    """Probability of each word of a question that it is unknown."""

    def __post_init__(self) -> None:
        if min(self.per_part, self.per_picture, self.common_words) < 1:
            raise ValueError("per_part, per_picture and common_words must be positive.")
        if not 0 <= self.label_smoothing < 1 or not 0 <= self.drop_word < 1 or self.type_weight < 0:
            raise ValueError("label_smoothing and drop_word lie from 0 to below 1, type_weight is 0 or more.")
