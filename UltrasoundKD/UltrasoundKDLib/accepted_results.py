"""What was accepted, so that the work of a hand and the result of a model can be told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Origin:
    """Where the content of a segment in one frame comes from."""

    kind: str
    """`model`: as it was accepted; `corrected`: changed since then; `other`: nothing was accepted there"""
    model: str = ""
    precision: str = ""
    threshold: float | None = None


class AcceptedResults:
    """Remembers, while the scene is open, the (j, i) masks that a model's result became in a segment, by frame."""

    def __init__(self) -> None:
        self._origins: dict[tuple, Origin] = {}
        self._last: dict[tuple, Origin] = {}

    def clear(self) -> None:
        """The scene was closed: another one has the same ids."""
        self._origins, self._last = {}, {}

    def remember(
        self,
        segmentationNode: Any,
        segmentId: str,
        masks: Mapping[int, np.ndarray],
        key: tuple[str, str],
        threshold: float,
    ) -> None:
        """What the segment holds in these frames is a result of the model and precision `key`."""
        origin = Origin("model", *key, threshold)
        for index, mask in masks.items():
            place = (segmentationNode.GetID(), segmentId, index)
            self._last[place] = origin
            self._origins[(*place, _digest(mask))] = origin

    def originOf(self, segmentationNode: Any, segmentId: str, index: int, mask: np.ndarray) -> Origin:
        """Also right after undo and redo: the content decides."""
        place = (segmentationNode.GetID(), segmentId, index)
        accepted = self._origins.get((*place, _digest(mask)))
        if accepted is not None:
            return accepted
        last = self._last.get(place)
        return Origin("other") if last is None else Origin("corrected", last.model, last.precision, last.threshold)

    def isHandmade(self, segmentationNode: Any, segmentId: str, masks: Mapping[int, np.ndarray]) -> bool:
        """Whether a segment holds, in one of these frames, anything that no model made; empty frames do not count."""
        drawn = {index: mask for index, mask in masks.items() if mask.any()}
        return any(self.originOf(segmentationNode, segmentId, *each).kind != "model" for each in drawn.items())


def _digest(mask: np.ndarray) -> bytes:
    return hashlib.blake2b(np.packbits(mask), digest_size=16).digest()
