"""The run report (`--report`, `--json`): what ran, on what, how long, and what came out."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import leanseg
from leanseg.api import Model
from leanseg.beside import written_beside


class Stopwatch:
    """Seconds of a run: loading the model, the first image, all slices."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._lap = self._started
        self.load = 0.0
        self.first = 0.0
        self.images = 0
        self.slices = 0
        self._image_seconds = 0.0

    def loaded(self) -> None:
        self._lap = time.perf_counter()
        self.load = self._lap - self._started

    def begin_image(self) -> None:
        """What lies between two images (reading truth, metrics) is not counted."""
        self._lap = time.perf_counter()

    def image_done(self, slices: int) -> None:
        seconds = time.perf_counter() - self._lap
        self.first = self.first or seconds
        self._image_seconds += seconds
        self.images += 1
        self.slices += slices

    def seconds(self) -> dict[str, float]:
        """load, first (image), per_slice (mean over all images), total (since creation)."""
        return {
            "load": round(self.load, 4),
            "first": round(self.first, 4),
            "per_slice": round(self._image_seconds / max(self.slices, 1), 5),
            "total": round(time.perf_counter() - self._started, 4),
        }


def run_report(
    model: Model,
    watch: Stopwatch,
    cases: Iterable[dict[str, Any]],
    mean: dict[str, Any] | None = None,
    gmacs: float | None = None,
) -> dict[str, Any]:
    """Keys are fixed; scripts depend on them (README, "The report"). `gmacs` is the mean of an image, all slices; if
    not given, as many times that of a slice."""
    if gmacs is None:
        gmacs = model.card.gmacs * watch.slices / max(watch.images, 1)
    return {
        "model": model.card.id,
        "checksum": model.checksum,
        "versions": {
            "leanseg": leanseg.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "runtime": model.engine.graph.runtime,
        },
        "device": model.device,
        "precision": model.precision,
        "seconds": watch.seconds(),
        "peak_rss_mb": peak_rss_mb(),
        "gmacs": round(gmacs, 3),
        "mean": mean or {},
        "cases": list(cases),
    }


def peak_rss_mb() -> float | None:
    """Largest resident memory of this process so far, 10^6 bytes; None where Python cannot tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def write_json(values: Any, path: Path) -> None:
    """Write a file that is complete or absent. NaN becomes null.

    Raises:
        OutputError: the file cannot be written.
    """
    with written_beside(path) as temporary:
        temporary.write_text(json.dumps(_finite(values), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
