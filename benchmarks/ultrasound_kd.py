"""Speed that a person feels in Slicer, measured in the test host: `python benchmarks/ultrasound_kd.py [--json R.json]`.

import         `import UltrasoundKD` in a process that has Slicer's libraries
first apply    from the click on Apply to the outline, drawn; the model is loaded meanwhile (one per process)
apply          the same afterwards, every time without a cached result
preview        live preview: from the turn of the wheel to the drawn outline of a frame that was never seen, without
               and with the uncertainty

Images of 256 x 256, one red slice view of 900 x 900 or so, drawn without a graphics card. Needs the environment of
`make test`. Absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.pop("DISPLAY", None)
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Testing" / "host"), str(ROOT)]

import slicer_host  # noqa: E402

SIZE_JI = (256, 256)
PROCESSES, APPLIES, FRAMES = 5, 20, 40
_IMPORT = """
import sys, time
sys.path[:0] = [sys.argv[1] + "/Testing/host", sys.argv[1] + "/UltrasoundKD"]
import slicer_host; slicer_host.start()
started = time.perf_counter(); import UltrasoundKD; print(time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--first-apply", action="store_true", help="measure this alone, and print seconds")
    arguments = parser.parse_args()
    if arguments.first_apply:
        print(first_apply(panel()))
        return
    results = {
        "import": summary([printed("-c", _IMPORT, str(ROOT)) for _ in range(PROCESSES)]),
        "first apply": summary([printed(__file__, "--first-apply") for _ in range(PROCESSES)]),
    }
    ui = panel()
    first_apply(ui)
    results["apply"] = summary([apply(ui) for _ in range(APPLIES)])
    results["preview"] = summary(live_preview(ui, with_uncertainty=False))
    results["preview, uncertainty"] = summary(live_preview(ui, with_uncertainty=True))
    for name, values in results.items():
        frames = f", {1 / values['median_s']:.1f} frames/s" if "preview" in name else ""
        print(f"{name:22} median {values['median_s']:.3f} s, {values['min_s']:.3f} to {values['max_s']:.3f}{frames}")
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n", "utf-8")


def summary(seconds: list[float]) -> dict[str, float]:
    median, least, most = statistics.median(seconds), min(seconds), max(seconds)
    return {"median_s": round(median, 4), "min_s": round(least, 4), "max_s": round(most, 4), "n": len(seconds)}


def printed(*arguments: str) -> float:
    """The number that a new process prints last."""
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def panel() -> Any:
    """The widgets of the module, in a host with one slice view."""
    app = slicer_host.start(size=(1400, 1000))
    app.loadModule(ROOT / "UltrasoundKD" / "UltrasoundKD.py")
    import slicer

    slicer.util.selectModule("UltrasoundKD")
    app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    return slicer.util.getModuleWidget("UltrasoundKD").ui


def show(ui: Any, frames: int) -> None:
    """A phantom as the image to segment."""
    from leanseg.phantom import ultrasound_phantom
    from leanseg.slicer_bridge.nodes import scalarVolumeNode
    from Testing.slicer import gestures

    phantom = ultrasound_phantom("benign", seed=2, frames=frames, shape_ji=SIZE_JI)
    node = scalarVolumeNode(f"{frames} frames", phantom.image.array[0], phantom.image.geometry)
    ui.inputSelector.setCurrentNode(node)
    gestures.settle(300)


def first_apply(ui: Any) -> float:
    show(ui, frames=1)
    return apply(ui)


def apply(ui: Any) -> float:
    """Seconds from the click to the picture with the outline."""
    import slicer

    from Testing.slicer import gestures

    slicer.util.getModuleWidget("UltrasoundKD").logic.cache.clear()
    ui.rejectButton.click()
    gestures.settle(100)
    with Watch() as watch:
        gestures.click(ui.applyButton)
        return watch.wait(lambda: ui.applyButton.text == "Apply" and ui.acceptButton.enabled)


def live_preview(ui: Any, with_uncertainty: bool) -> list[float]:
    """Seconds of each turn of the wheel, until the outline of that frame is drawn."""
    import slicer

    from Testing.slicer import gestures

    ui.uncertaintyCheckBox.checked = with_uncertainty
    show(ui, frames=FRAMES + 2)
    ui.livePreviewCheckBox.checked = True
    module = slicer.util.getModuleWidget("UltrasoundKD")
    module.logic.cache.clear()
    session = module.panel.session
    session.frames.select(0)
    gestures.settle(1000)
    red, seconds = slicer.app.layoutManager().sliceWidget("Red"), []
    for _ in range(FRAMES):
        before = session.frames.currentIndex()
        with Watch() as watch:
            gestures.wheel(red, 1)
            now = watch.wait(lambda before=before: session.proposed == [session.frames.currentIndex()] != [before])
        seconds.append(now)
    ui.livePreviewCheckBox.checked = False
    return seconds


class Watch:
    """Notes when an outline was last put into the scene, and when the red view was last drawn."""

    def __enter__(self) -> Watch:
        import slicer

        from leanseg.slicer_bridge.proposal import Proposal

        self.outlined = self.drawn = 0.0
        self._window = slicer.app.layoutManager().sliceWidget("Red").sliceView().renderWindow()
        self._tag = self._window.AddObserver("EndEvent", self._on_drawn)
        show = Proposal.show

        def timed(*arguments: Any) -> None:
            show(*arguments)
            self.outlined = time.perf_counter()

        self._patch = mock.patch.object(Proposal, "show", timed)
        self._patch.start()
        self.started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._window.RemoveObserver(self._tag)
        self._patch.stop()

    def _on_drawn(self, *_: object) -> None:
        self.drawn = time.perf_counter()

    def wait(self, condition: Callable[[], bool]) -> float:
        """Seconds since the start, when `condition` holds and the outline is drawn."""
        from Testing.slicer import gestures

        if not gestures.waitFor(lambda: condition() and self.drawn > self.outlined > self.started, 30):
            raise SystemExit("Nothing was proposed within 30 s.")
        return time.perf_counter() - self.started


if __name__ == "__main__":
    main()
