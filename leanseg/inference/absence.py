"""When a proposal is empty, and what is said about it: the prompt against what was found. Inferred throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leanseg.prompts.describe import describe, fits
from leanseg.prompts.directions import PictureFrame, named, pictured
from leanseg.prompts.render import joined_places, summary
from leanseg.prompts.structure import StructuredPrompt

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """A structured prompt on a picture."""

    prompt: StructuredPrompt
    """In words of the patient, as it was said"""
    frame: PictureFrame
    threshold: float
    """Of the existence"""

    @property
    def says_no(self) -> bool:
        return self.prompt.number == "no"

    def is_elsewhere(self, mask: Mask, organ: Mask) -> bool:
        """Whether a mask (j, i) in the frame of the picture lies clearly elsewhere than the prompt says."""
        where = StructuredPrompt(locations=pictured(self.prompt, self.frame).locations)
        is_there = describe(mask, organ).number != "no"
        return bool(where.locations) and is_there and not fits(mask, where, organ)

    def elsewhere(self, mask: Mask, organ: Mask) -> str:
        """E.g. `The prompt says upper left; what looks like a tumor lies lower right.`"""
        said, found = joined_places(self.prompt.locations), self._places_of(mask, organ)
        return f"The prompt says {said}; what looks like a tumor lies {found}."

    def absent(self, existence: float, any_tumor: Mask | None, organ: Mask) -> str:
        """Why nothing is outlined where the network or the prompt says that there is no such tumor.

        `any_tumor`: (j, i) what is found without the prompt, empty if nothing is; None: nobody looked.
        """
        is_seen = any_tumor is not None and describe(any_tumor, organ).number != "no"
        if self.says_no:
            reason = "The prompt says that there is no tumor."
            if is_seen and any_tumor is not None:
                reason += f" What looks like one lies {self._places_of(any_tumor, organ)}; a click there outlines it."
            return reason
        figures = f"probability to exist {existence:.2f}; {self.threshold:.2f} is needed"
        if any_tumor is None:
            return f"Nothing here fits the prompt ({figures})."
        if not is_seen:
            return f"Nothing here looks like a tumor ({figures})."
        if self.is_elsewhere(any_tumor, organ):
            return self.elsewhere(any_tumor, organ)
        found = summary(named(describe(any_tumor, organ), self.frame))
        return f"What looks like a tumor here ({found}) does not fit the prompt ({figures})."

    def _places_of(self, mask: Mask, organ: Mask) -> str:
        found = named(describe(mask, organ), self.frame).locations
        return joined_places(found) if found else "in several places"
