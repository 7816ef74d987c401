"""Sides that are said of the picture, `left of the image` or `viewer's left`, in words of the patient.

Left and right are the patient's wherever the image says how it lies. Slicer and radiologists look at a patient from the
feet or the front, so that left of the picture is the patient's right (`inference.picture_slices`). Only what names the
picture beside the side is turned; where that is not clear, the words stay the patient's, and a remark says so.
"""

from __future__ import annotations

import re

from leanseg.prompts.directions import PictureFrame
from leanseg.prompts.words import recognize
from leanseg.volume import OPPOSITE

_PICTURE = r"(?:image|picture|screen|viewer|observer|display|monitor|radiological|radiologic)(?:['’]s)?"
_SIDE = r"\b(left|right|lt|rt)(most|wards?|[- ]?hand(?:ed)?)?\b"
_BETWEEN = (
    r"(?:[ ,/&+-]+(?:side|half|part|portion|edge|border|margin|corner|quadrant|third|area|region|upper|lower|top|"
    r"bottom|middle|mid|central|center|and|or|left|right|leftmost|rightmost|ones?|lesions?|mass(?:es)?|tumou?rs?|"
    r"nodules?|objects?|spots?|cysts?|findings?)\b)*"
)
_INSIDE = r"[ ,]+(?:of|in|on|within|from|at)[ ]+(?:(?:the|this|that|an?)[ ]+)?"
_SAID_OF_IT = re.compile(
    rf"\b{_PICTURE}[ -]+(?P<after>{_SIDE})|(?P<before>{_SIDE}{_BETWEEN}){_INSIDE}{_PICTURE}(?!\w)", re.IGNORECASE
)
_NAMES = {"R": "right", "L": "left", "A": "anterior", "P": "posterior"}


def in_words_of_the_patient(text: str, frame: PictureFrame) -> tuple[str, tuple[str, ...]]:
    """The text with sides of the picture as sides of the patient, and what a person should know of that, a line each.

    E.g. in an axial picture (left edge R) `leftmost lesion in the image` becomes `rightmost lesion`. Without a frame
    the words are those of the picture anyway. What it returns is not changed by it again.
    """
    if not frame.left:
        return text, ()
    patients = {"left": _NAMES[frame.left], "right": _NAMES[OPPOSITE[frame.left]]}
    remarks: list[str] = []

    def turned(side: re.Match[str]) -> str:
        word = {"l": "left", "r": "right"}[side.group(1)[0].lower()]
        patient = patients[word] if patients[word] not in patients else f"the patient's {patients[word]}"
        remarks.append(f"{word.capitalize()} of the picture is {patient} here, and is read so.")
        suffix = (side.group(2) or "").lower()
        return patients[word] + (suffix if patients[word] in patients or suffix == "most" else "")

    said = _SAID_OF_IT.sub(
        lambda found: re.sub(_SIDE, turned, found["after"] or found["before"], flags=re.IGNORECASE), text
    )
    unclear = [word for word in recognize(said) if word.value in patients and word.kind == "horizontal"]
    if unclear and patients["left"] in patients and re.search(rf"\b{_PICTURE}(?!\w)", said, re.IGNORECASE):
        typed, side = unclear[0].text, unclear[0].value
        remarks.append(f'"{typed}" is read as the patient\'s {side}, which is {patients[side]} in the picture.')
    return said, tuple(dict.fromkeys(remarks))
