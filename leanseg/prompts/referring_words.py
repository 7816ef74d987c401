"""Referring expressions in words: one canonical wording, and others, each of which means one expression alone."""

from __future__ import annotations

import numpy as np

from leanseg.prompts.referring import Expression, Pick
from leanseg.prompts.word_pieces import words_of

_ORDINALS = {2: "second", 3: "third", 4: "fourth"}
_EDGES = {"leftmost": "left", "rightmost": "right", "uppermost": "top", "lowermost": "bottom"}
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "largest": ("largest", "biggest"),
    "smallest": ("smallest", "tiniest"),
    "brightest": ("brightest", "lightest"),
    "darkest": ("darkest",),
    "leftmost": ("leftmost", "first from the left"),
    "rightmost": ("rightmost", "first from the right"),
    "uppermost": ("uppermost", "topmost", "first from the top"),
    "lowermost": ("lowermost", "bottommost", "first from the bottom"),
    "left": ("on the left", "in the left half"),
    "right": ("on the right", "in the right half"),
    "upper": ("in the upper half", "in the upper part"),
    "lower": ("in the lower half", "in the lower part"),
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below",),
    "next to": ("next to", "nearest to", "closest to"),
}
NOUNS = ("lesion", "mass", "tumor", "object", "one")


def sentence(expression: Expression, noun: str = "lesion", rng: np.random.Generator | None = None) -> str:
    """E.g. `The second lesion from the top.`, `The smallest lesion left of the brightest one.`

    With `rng` it is one of several wordings, without it always the first.
    """
    where = ""
    if expression.side:
        where = f" {_word(expression.side, rng)}"
    elif expression.anchor is not None:
        where = f" {_word(expression.relation, rng)} {_noun_phrase(expression.anchor, 'one', rng)}"
    text = _noun_phrase(expression.pick, noun, rng) + where
    return f"{text[0].upper()}{text[1:]}."


def grammar_words() -> list[str]:
    """Every word of every wording, in alphabetical order."""
    texts = [*NOUNS, *_ORDINALS.values(), *_EDGES.values(), *(one for some in _SYNONYMS.values() for one in some)]
    return sorted({word for text in [*texts, "the one from the."] for word in words_of(text)})


def _noun_phrase(pick: Pick, noun: str, rng: np.random.Generator | None) -> str:
    if not pick.quality:
        return f"the {noun}"
    edge = _EDGES.get(pick.quality)
    if pick.rank > 1:
        ordinal = _ORDINALS[pick.rank]
        return f"the {ordinal} {noun} from the {edge}" if edge else f"the {ordinal} {_word(pick.quality, rng)} {noun}"
    first, _, rest = _word(pick.quality, rng).partition(" ")
    return f"the {first} {noun} {rest}".rstrip()


def _word(meaning: str, rng: np.random.Generator | None) -> str:
    wordings = _SYNONYMS[meaning]
    return wordings[0 if rng is None else int(rng.integers(len(wordings)))]
