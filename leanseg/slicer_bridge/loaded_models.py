"""Models of a section that runs several at a time: those of the last use stay loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leanseg.slicer_bridge.model_chooser import ModelKey

if TYPE_CHECKING:
    from leanseg.api import Model
    from leanseg.request import Progress


class LoadedModels:
    """Used in any thread; a model runs in one at a time, also where a cancelled one is still at work."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, str], Model] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, keys: Sequence[ModelKey], progress: Progress) -> Iterator[list[Model]]:
        """Models by id or folder, and precision. One whose card has changed since is loaded again.

        :raises LeanSegError: no such model, damaged, or no runtime.
        :raises InferenceCancelled: `progress` returned False.
        """
        import leanseg
        from leanseg.request import step

        with self._lock:
            loaded: dict[tuple[str, str, str], Model] = {}
            wanted: list[tuple[str, Any]] = [*keys]
            for done, (name, precision) in enumerate(wanted):
                step(progress, done, len(keys), "loading the models")
                stamp = (name, precision, cardText(name))
                known = self._loaded.get(stamp)
                loaded[stamp] = leanseg.load_engine(name, precision=precision) if known is None else known
            self._loaded = loaded
            yield list(loaded.values())


def cardText(name: str) -> str:
    """Of a bundle as it is now."""
    from leanseg.weights.store import find_bundle

    return find_bundle(name).card.to_json()
