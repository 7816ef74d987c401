"""What one window of a 3-D bundle costs, as a user has it: in a process of its own, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from leanseg.weights.bundle import Bundle

_MEASURE = """
import json, sys
sys.modules["torch"] = None
from leanseg.api import load_engine
from leanseg.inference.sliding_window import seconds_of_window
from leanseg.report import peak_rss_mb
def peak_mb():  # what `resource` says of a child is at least the peak of its parent, on Linux
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return peak_rss_mb()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
model = load_engine(sys.argv[1])
seconds = [seconds_of_window(model.engine, len(model.card.inputs)) for _ in range(3)]
print(json.dumps({"seconds": round(min(seconds), 2), "peak_mb": round(peak_mb() or 0), "precision": model.precision}))
"""


def window_cost(bundle: Bundle) -> dict[str, Any]:
    """`seconds` of a window, `peak_mb` of the whole process, and the `precision` that both are of.

    Empty where that cannot be measured: a bundle is complete without.
    """
    child = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(bundle.folder)], capture_output=True, text=True, check=False
    )
    measured: dict[str, Any] = json.loads(child.stdout.splitlines()[-1]) if child.returncode == 0 else {}
    return measured
