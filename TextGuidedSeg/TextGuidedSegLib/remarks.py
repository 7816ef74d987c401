"""What a person should know about an image and a result, in words."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from TextGuidedSegLib.location_grid import directionNames


def frameText(session: Any) -> str:
    """Which side of the patient is on the left of the picture; `session`: `TextSession` or None."""
    if session is None:
        return ""
    left = session.frame.left
    if not left:
        return _("left = left of the picture")
    return _("left of the picture = {side}").format(side=directionNames()[left])


def remark(dialog: Any) -> str:
    """About the result of a `TextDialog`, a line for each thing; what goes for the whole image comes last."""
    if dialog.isRunning:
        return ""
    warnings = list(dialog.session.warnings) if dialog.session is not None else []
    return "\n".join([text for text in (_ofResult(dialog), *_ofShownSlice(dialog), *warnings) if text])


def _ofShownSlice(dialog: Any) -> list[str]:
    """What its result warns of, but for what is said of the image, or of the text beside the prompt."""
    shown = dialog.proposals.get(dialog.frames.currentIndex()) if dialog.proposals else None
    own = getattr(shown, "warnings", ())
    if not own or dialog.session is None:
        return list(own)
    known = {*dialog.session.warnings, *dialog.session.understand(shown.sentence).warnings}
    return [line for line in own if line not in known]


def _ofResult(dialog: Any) -> str:
    proposals = dialog.proposals
    if not proposals:
        return ""
    shown = proposals.get(dialog.frames.currentIndex())
    if not dialog.hasTumor:
        reason = (shown or next(iter(proposals.values()))).reason
        text = _("Nothing was found in {count} slices. {reason}")
        return reason if len(proposals) == 1 else text.format(count=len(proposals), reason=reason)
    if shown is None:
        text = _("The result is in slices {first} to {last}.")
        return text.format(first=min(proposals) + 1, last=max(proposals) + 1)
    if not shown.reason and getattr(shown, "heard", ""):
        text = _('Heard: "{heard}" Probability that there is such an object: {existence:.0%}.')
        return text.format(heard=shown.heard, existence=shown.existence)
    return shown.reason
