"""Small types shared by the facade, the engines and the command line."""

from __future__ import annotations

from typing import Literal, Protocol

from leanseg.errors import InferenceCancelled

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "int8"]
UncertaintyKind = Literal["entropy", "flip_variance"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
UNCERTAINTY_KINDS: tuple[UncertaintyKind, ...] = ("entropy", "flip_variance")
Alignment = Literal["resample", "rigid"]
"""Of images on other grids: `resample` trusts the positions in the headers; `rigid` corrects them, because the patient
moved between the sequences."""
ALIGNMENTS: tuple[Alignment, ...] = ("resample", "rigid")
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "int8")


class Progress(Protocol):
    """Called with steps done, steps in all, and what is being done; returning False cancels."""

    def __call__(self, done: int, total: int, what: str) -> bool | None: ...


def no_progress(done: int, total: int, what: str) -> None:
    """The default: say nothing, never cancel."""


def step(progress: Progress, done: int, total: int, what: str) -> None:
    """Report a step.

    Raises:
        InferenceCancelled: the callback returned False.
    """
    if progress(done, total, what) is False:
        raise InferenceCancelled
