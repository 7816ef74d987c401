"""When a proposal is empty, and what is said about it: the prompt against what was found. Inferred throughout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leanseg.prompts.describe import components_named, describe, fits, places_held
from leanseg.prompts.directions import PictureFrame, told
from leanseg.prompts.render import joined_places, summary
from leanseg.prompts.structure import StructuredPrompt

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """A structured prompt on a picture."""

    prompt: StructuredPrompt
    """In words of the picture"""
    frame: PictureFrame
    threshold: float
    """Of the existence"""

    @property
    def says_no(self) -> bool:
        return self.prompt.number == "no"

    def is_elsewhere(self, mask: Mask, organ: Mask) -> bool:
        """Whether a mask (j, i) in the frame of the picture lies clearly elsewhere than the prompt says."""
        where = StructuredPrompt(locations=self.prompt.locations)
        is_there = describe(mask, organ).number != "no"
        return bool(where.locations) and is_there and not fits(mask, where, organ)

    def meant_of(self, any_tumor: Mask, organ: Mask) -> Mask:
        """(j, i) components of what is found without the prompt that the prompt means; empty where it fits none.

        One of two places where something is, and fewer masses than were said, are no reason to deny what is there: the
        network overlooks masses. A place means its own cells alone: with those nearby too, on the validation part of
        BUSI 11 more of 162 wrong places were outlined, for 3 more of 66 sides that were right.
        """
        said = self.prompt
        met = replace(said, locations=places_held(any_tumor, said, organ))
        is_meant = bool(met.locations or not said.locations) and fits(any_tumor, replace(met, number=""), organ)
        return components_named(any_tumor, met, organ) if is_meant and not self.says_no else np.zeros_like(any_tumor)

    def elsewhere(self, mask: Mask, organ: Mask) -> str:
        """E.g. `The prompt says upper left; what looks like a tumor lies lower right.`"""
        said = told(self.prompt, self.frame, _places)
        return f"The prompt says {said}; what looks like a tumor lies {self._places_of(mask, organ)}."

    def absent(self, existence: float, any_tumor: Mask, organ: Mask) -> str:
        """Why nothing is outlined where the network or the prompt says that there is no such tumor.

        `any_tumor`: (j, i) what is found without the prompt, empty if nothing is.
        """
        is_seen = describe(any_tumor, organ).number != "no"
        if self.says_no:
            reason = "The prompt says that there is no tumor."
            if is_seen:
                reason += f" What looks like one lies {self._places_of(any_tumor, organ)}; a click there outlines it."
            return reason
        figures = f"probability to exist {existence:.2f}; {self.threshold:.2f} is needed"
        if not is_seen:
            return f"Nothing here looks like a tumor ({figures})."
        if self.is_elsewhere(any_tumor, organ):
            return self.elsewhere(any_tumor, organ)
        found = told(describe(any_tumor, organ), self.frame, summary)
        return f"What looks like a tumor here ({found}) does not fit the prompt ({figures})."

    def _places_of(self, mask: Mask, organ: Mask) -> str:
        return told(describe(mask, organ), self.frame, _places) or "in several places"


def _places(prompt: StructuredPrompt) -> str:
    return joined_places(prompt.locations) if prompt.locations else ""
