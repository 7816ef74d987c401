"""What a recipe says of losses: one of logits and target, and any beside it that look at features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.losses.pne import PNEConfig
from leanseg.schema import parse

AUXILIARY: dict[str, type[Any]] = {"pne": PNEConfig}
"""Losses that need another beside them."""


@dataclass(frozen=True)
class LossConfig:
    name: str = "weight_balance"
    options: dict[str, Any] = field(default_factory=dict)
    auxiliary: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Losses beside it and their options. `losses = ["dice_bce", "pne"]` at the top of a recipe is short for this name
    and one auxiliary loss with its defaults."""

    def __post_init__(self) -> None:
        for name, options in self.auxiliary.items():
            if name not in AUXILIARY:
                raise UnknownNameError("auxiliary loss", name, AUXILIARY)
            parse(AUXILIARY[name], options, f"options of {name}")

    def check_alone(self, methods: Collection[str]) -> None:
        """Raises ValueError if a method that has an objective of its own meets an auxiliary loss."""
        if self.auxiliary and methods:
            raise ValueError(
                f"{' and '.join(methods)} and the loss {' and '.join(self.auxiliary)} exclude each other. Keep one of "
                "them."
            )


def spell_out_losses(values: dict[str, Any]) -> None:
    """Replace `losses` at the top of a recipe by what it is short for, in place.

    Raises:
        LeanSegError: not names, not exactly one loss of logits and target, or another one in [loss].
    """
    if "losses" not in values:
        return
    names, section = values.pop("losses"), values.setdefault("loss", {})
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LeanSegError(f'losses must be names, e.g. ["dice_bce", "pne"]; got {names!r}.')
    if not isinstance(section, dict):
        raise LeanSegError(f"loss must be a section; got {section!r}.")
    main = [name for name in names if name not in AUXILIARY]
    if len(main) != 1:
        raise LeanSegError(
            f"losses needs one loss of logits and target, such as dice_bce, and may have {', '.join(AUXILIARY)} beside "
            f"it; got {names}."
        )
    if section.setdefault("name", main[0]) != main[0]:
        raise LeanSegError(f"losses names {main[0]}, [loss] names {section['name']}. Leave one of them out.")
    for name in names:
        if name != main[0]:
            section.setdefault("auxiliary", {}).setdefault(name, {})
