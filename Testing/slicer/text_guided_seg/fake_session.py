"""A session whose answers are known by hand, with the interface of `leanseg.text_session.TextSession`.

The image is black but for bright blocks. A prompt finds the bright voxels of a slice, in the half of the picture that
it names (left or right of the PATIENT, whose right is on the left of the picture, but of the picture where the image is
ultrasound or has no voxel size); `no` finds nothing. The last click in a slice corrects the earlier mask, or else what
the prompt finds: a positive one adds a square of 7 x 7 voxels, a negative one takes such a square away. Nothing is
certain within 2 voxels of an edge.
"""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from leanseg.errors import LeanSegError
from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.parse import Parsed, parse
from leanseg.prompts.referring_read import no_description
from leanseg.prompts.structure import NOTHING_SAID
from leanseg.request import no_progress, step
from leanseg.text_session import SliceProposal

SQUARE = 3  # voxels around a click


class FakeSession:
    """Remembers in `calls` what it was asked: (slices, text, hints, slices with an earlier mask)."""

    def __init__(self, model, volume, modality=""):
        self.model = model
        self.volume = volume
        self.modality = modality
        self.calls = []
        self.delay = 0.0  # seconds a slice
        self.warnings = ()
        isPicture = modality == "ultrasound" or not volume.geometry.is_calibrated
        self.frame = PictureFrame() if isPicture else PictureFrame("R", "A", "I")

    def understand(self, text):
        if refusal := no_description(text, self.frame):
            return Parsed(NOTHING_SAID, refusal=refusal)
        parsed = parse(text)
        if "CT" in text.split():
            return replace(parsed, warnings=(*parsed.warnings, "This is no CT."))
        return parsed

    def propose(self, ks, text="", hints=None, earlier=None, progress=no_progress):
        if refusal := no_description(text, self.frame):
            raise LeanSegError(refusal)
        chosen = sorted(set(ks))
        self.calls.append((chosen, text, hints, sorted(earlier or {})))
        found = {}
        for done, k in enumerate(chosen):
            step(progress, done, len(chosen), f"slice {k}")
            time.sleep(self.delay)
            found[k] = self._proposal(k, text, hints, (earlier or {}).get(k))
        return found

    def next_question(self, proposals, asked):
        """The corner of the bright block in the first slice that holds one; None if it was asked about."""
        from leanseg.inference.questions import Question

        for k, proposal in sorted(proposals.items()):
            if proposal.mask.any():
                j, i = np.argwhere(proposal.mask)[0]
                place = (float(k), float(j), float(i))
                return None if place in asked else Question(place, 0.5, "The edge is blurred here.")
        return None

    def _proposal(self, k, text, hints, earlier):
        image = self.volume.array[0, k]
        mask = image > 100
        prompt = parse(text).prompt
        middle = image.shape[1] // 2
        sides = {place.horizontal for place in prompt.locations}
        atItsLeft, atItsRight = ("right", "left") if self.frame.left == "R" else ("left", "right")
        if atItsLeft in sides:
            mask[:, middle:] = False
        if atItsRight in sides:
            mask[:, :middle] = False
        if prompt.number == "no":
            mask[:] = False
        clicks = [click for click in (() if hints is None else hints.clicks) if round(click.kji[0]) == k]
        if clicks and earlier is not None:
            mask = earlier.copy()
        for click in clicks[-1:]:
            j, i = (round(x) for x in click.kji[1:])
            mask[max(j - SQUARE, 0) : j + SQUARE + 1, max(i - SQUARE, 0) : i + SQUARE + 1] = click.positive
        uncertainty = np.where(np.roll(mask, 2, 1) != mask, 0.8, 0.05).astype(np.float32)
        reason = "" if mask.any() else "What is asked for is not in this slice."
        probability = mask.astype(np.float32)
        return SliceProposal(mask, probability, uncertainty, float(mask.any()), not mask.any(), reason, 0.01)


def card():
    """Of the model that is none, as the chooser wants it."""
    from leanseg.segmentation import Segment

    found = SimpleNamespace(
        id="fake", title="By hand", engine="text_prompted", inputs=("image",), precisions=("int8",), metrics={},
        labels=(Segment("tumor", "Tumor", 1, (0.9, 0.3, 0.2)),),
    )  # fmt: skip
    found.bytes_of = lambda _precision: 1000
    return found
