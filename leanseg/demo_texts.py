"""The text-guided part of the demo page: a sentence, two answered questions, and a sentence that does not fit."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leanseg.api import Model
from leanseg.inference.hints import NO_HINTS, Click, Hints
from leanseg.pictures import Picture, outlines, uncertainty_colors, write_png
from leanseg.report import Stopwatch, run_report
from leanseg.text_phantom import TextPhantom, text_phantom
from leanseg.text_session import SliceProposal, TextSession

SEED, SLICES = 3, 9
"""A simulated breast MRI with a tumor in each breast."""
PROMPT, ELSEWHERE = "mass, right", "mass, lower left"
QUESTIONS = 2
_GREEN, _ORANGE, _YES, _NO = (60, 220, 90), (255, 160, 60), (90, 200, 255), (255, 90, 90)
_ARM = 4


@dataclass
class _Story:
    """What was said and shown of one slice, and what the model answered."""

    session: TextSession
    gray: NDArray[np.uint8]
    named: NDArray[np.bool_]
    """(j, i): the tumor on the patient's right, which is on the left of the picture"""
    k: int
    hints: Hints = NO_HINTS
    figures: list[tuple[str, Picture]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, text: str, earlier: SliceProposal | None = None) -> SliceProposal:
        kept = {} if earlier is None else {self.k: earlier.mask}
        return self.session.propose([self.k], text, self.hints, earlier=kept)[self.k]

    def show(self, title: str, proposal: SliceProposal) -> None:
        picture = outlines(self.gray, [self.named, proposal.mask], [_ORANGE, _GREEN])
        for click in self.hints.clicks:
            _cross(picture, click)
        self.figures.append((title, picture))
        size = int(proposal.mask.sum() + self.named.sum())
        dice = 2 * int((proposal.mask & self.named).sum()) / size
        self.rows.append({"id": title, "dice": round(dice, 4), "milliseconds": round(1000 * proposal.seconds)})


def story_phantom() -> TextPhantom:
    """What PROMPT is about."""
    return text_phantom("mri", seed=SEED, lesions=2, slices=SLICES)


def text_section(model: Model, watch: Stopwatch, folder: Path) -> tuple[str, dict[str, Any]]:
    """Tell the story on the phantom; pictures into `folder`. HTML, and the report of the run."""
    phantom, k = story_phantom(), SLICES // 2
    named = phantom.lesions[k] > 0
    named[:, named.shape[1] // 2 :] = False
    gray = phantom.image.array[0, k].astype(np.float64)
    gray_8 = (255 * (gray - gray.min()) / max(float(np.ptp(gray)), 1e-9)).astype(np.uint8)
    watch.begin_image()
    story = _Story(TextSession(model, phantom.image, "mri"), gray_8, named, k)
    proposal = story.ask(PROMPT)
    watch.image_done(1)
    story.show(f"“{PROMPT}”", proposal)
    story.figures.append(("where it is unsure", uncertainty_colors(proposal.uncertainty)))
    said = []
    for number in range(1, QUESTIONS + 1):
        question = story.session.next_question({k: proposal}, [click.kji for click in story.hints.clicks])
        if question is None:
            said.append("There is nothing left to ask.")
            break
        _, j, i = (round(x) for x in question.kji)
        is_tumor = bool(named[j, i])
        said.append(f"Question {number}: {question.why} The truth answers {'yes' if is_tumor else 'no'}.")
        story.hints = story.hints.with_hint(Click(question.kji, is_tumor))
        proposal = story.ask(PROMPT, proposal)
        story.show(f"after answer {number}: {'yes' if is_tumor else 'no'}", proposal)
    story.hints = NO_HINTS
    absent = story.ask(ELSEWHERE)
    story.show(f"“{ELSEWHERE}”", absent)
    said.append(f"“{ELSEWHERE}”: {absent.reason or 'something was outlined, although nothing is there.'}")
    report = run_report(model, watch, story.rows)
    return _html(model, watch, story, said, folder), report


def _cross(picture: Picture, click: Click) -> None:
    """Blue for yes, red for no."""
    _, j, i = (round(x) for x in click.kji)
    color = _YES if click.positive else _NO
    picture[max(j - _ARM, 0) : j + _ARM + 1, i] = color
    picture[j, max(i - _ARM, 0) : i + _ARM + 1] = color


def _html(model: Model, watch: Stopwatch, story: _Story, said: list[str], folder: Path) -> str:
    parts = []
    for number, (title, picture) in enumerate(story.figures):
        name = f"pictures/{model.card.id}_story_{number}.png"
        write_png(picture, folder / name)
        caption = html.escape(title)
        parts.append(f'<figure><img src="{name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    seconds = watch.seconds()
    dice = ", ".join(f"{html.escape(row['id'])} {100 * row['dice']:.0f} %" for row in story.rows[:-1])
    return (
        f"<h2>{html.escape(model.card.id)}: {html.escape(model.card.title)}</h2>\n"
        f"<p>{model.card.parameters / 1e6:.2f} M parameters, {model.precision}. Loaded in {seconds['load']:.2f} s; the "
        f"first answer in {1000 * seconds['first']:.0f} ms, the next in {story.rows[1]['milliseconds']} ms.</p>\n"
        "<section><h3>simulated breast MRI, a tumor in each breast; the right one is meant, left in the picture</h3>"
        f"{''.join(parts)}<p>{html.escape(' '.join(said))} Dice with the right one: {dice}.</p></section>"
    )
