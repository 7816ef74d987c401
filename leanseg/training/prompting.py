"""What a simulated person says about an image, and the mask that this means.

Prompts are made from the mask after augmentation, so words about places are always true of the picture that the network
sees (rules of `prompts.describe`), and worded in many ways (`prompts.paraphrase`). Inferred: what is said how often.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leanseg.prompts.describe import components_named, describe, fits
from leanseg.prompts.directions import mirrored
from leanseg.prompts.paraphrase import absent, generic, paraphrase
from leanseg.prompts.structure import (
    HORIZONTALS,
    MARGINS,
    NOTHING_SAID,
    NUMBERS,
    SHAPES,
    SIZES,
    VERTICALS,
    Location,
    StructuredPrompt,
)
from leanseg.training.text_recipe import TextConfig

Mask = NDArray[np.bool_]
_SENTENCE = re.compile(r"(?<=[.;])\s+")
_NO_TUMOR = StructuredPrompt(number="no")
_ATTEMPTS = 8


@dataclass(frozen=True, eq=False)
class Seen:
    """An augmented picture, as far as it matters for words."""

    lesions: Mask
    """(j, i), small"""
    organ: Mask
    """(j, i), likewise"""
    modality: str
    report: str = ""
    """In words of the picture before augmentation"""
    is_mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Said:
    """A prompt with its meaning."""

    text: str
    meaning: Mask
    """(j, i), on the grid of `Seen.lesions`: the lesions that are meant"""
    key: Hashable
    """Equal for prompts that say the same"""
    kind: str
    """generic, described, named, report, wrong, or absent"""


class Person:
    """Says something about pictures; every draw comes from `rng`."""

    def __init__(self, config: TextConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.rng = rng

    def say(self, seen: Seen) -> Said:
        """A prompt for a picture, and what it means there."""
        draw = self.rng.random()
        if draw < self.config.generic:
            return Said(generic(self.rng), seen.lesions, NOTHING_SAID, "generic")
        if seen.report and self.rng.random() < self.config.report:
            return self._report(seen)
        if draw < self.config.generic + self.config.wrong or not seen.lesions.any():
            return self._wrong(seen)
        return self._describe(seen)

    def _report(self, seen: Seen) -> Said:
        """One or two sentences, mostly the first ones: the network reads about twenty words."""
        sentences = _SENTENCE.split(seen.report)
        first = 0 if self.rng.random() < 0.6 else int(self.rng.integers(len(sentences)))
        text = " ".join(sentences[first : first + 2])
        return Said(mirrored(text, horizontally=seen.is_mirrored), seen.lesions, text, "report")

    def _wrong(self, seen: Seen) -> Said:
        """Says that there is nothing, or describes what is not there."""
        nothing = np.zeros_like(seen.lesions)
        if self.rng.random() < 0.35:
            return Said(absent(self.rng), nothing, _NO_TUMOR, "absent")
        for _ in range(_ATTEMPTS):
            prompt = self._any_prompt(seen)
            if not fits(seen.lesions, replace(prompt, number="", shape="", size=""), seen.organ):
                return Said(paraphrase(prompt, self.rng), nothing, prompt, "wrong")
        return Said(absent(self.rng), nothing, _NO_TUMOR, "absent")

    def _describe(self, seen: Seen) -> Said:
        """A true description that leaves some things out; of several lesions often of some only."""
        whole = describe(seen.lesions, seen.organ, seen.modality)
        prompt, kind = whole, "described"
        if len(whole.locations) > 1 and self.rng.random() < self.config.named:
            place = whole.locations[int(self.rng.integers(len(whole.locations)))]
            meant = components_named(seen.lesions, StructuredPrompt(locations=(place,)), seen.organ)
            prompt, kind = describe(meant, seen.organ, seen.modality), "named"
        prompt = self._shortened(prompt, keeps_places=kind == "named")
        meaning = components_named(seen.lesions, prompt, seen.organ)
        if not meaning.any():
            prompt, meaning, kind = NOTHING_SAID, seen.lesions, "generic"
        return Said(paraphrase(prompt, self.rng), meaning, prompt, kind)

    def _shortened(self, prompt: StructuredPrompt, keeps_places: bool) -> StructuredPrompt:
        """Without some of its fields, and now and then with a word about the margin, which no mask shows."""
        rng = self.rng
        locations = prompt.locations if keeps_places or rng.random() < 0.75 else ()
        if len(locations) == 1 and rng.random() < 0.25:
            one = locations[0]
            locations = (
                Location(vertical=one.vertical) if rng.random() < 0.5 else Location(horizontal=one.horizontal),
            )
        return StructuredPrompt(
            number=prompt.number if rng.random() < 0.6 else "",
            shape=prompt.shape if rng.random() < 0.6 else "",
            size=prompt.size if rng.random() < 0.6 else "",
            locations=locations,
            modality=prompt.modality if rng.random() < 0.25 else "",
            margin=str(rng.choice(MARGINS)) if rng.random() < 0.08 else "",
        )

    def _any_prompt(self, seen: Seen) -> StructuredPrompt:
        rng = self.rng
        place = Location(str(rng.choice(VERTICALS)), str(rng.choice(HORIZONTALS)))
        any_prompt = StructuredPrompt(
            str(rng.choice(NUMBERS[1:3])), str(rng.choice(SHAPES)), str(rng.choice(SIZES)), (place,), seen.modality
        )
        return self._shortened(any_prompt, keeps_places=True)
