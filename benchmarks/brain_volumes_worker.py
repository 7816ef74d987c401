"""One way to run a 3-D network on a case, in a process of its own: `brain_volumes_worker.py graph|torch FILE JSON`.

`graph` takes FILE as ONNX and lives without torch; `torch` takes it as weights. JSON has the config of the network, the
case, the windows and the threads. For each line on standard input it runs the case once and prints the seconds; at the
end, the peak of its memory in MB.
"""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

if sys.argv[1] == "graph":
    sys.modules["torch"] = None  # type: ignore[assignment]

from brain_case import files_of, phantom_arrays, read_case

from leanseg.errors import InferenceCancelled
from leanseg.inference.sliding_window import SlidingWindowConfig, SlidingWindowEngine
from leanseg.processing.brain import BrainPreprocessingConfig, preprocess_brain
from leanseg.runtime.graph import Graph
from leanseg.volume import Volume, VolumeGeometry


def graph_of(kind: str, file: Path, config: dict[str, Any], threads: int) -> Graph:
    if kind == "graph":
        from leanseg.runtime.openvino_graph import OpenVINOGraph

        return OpenVINOGraph(file.read_bytes(), threads)
    import torch
    from safetensors.torch import load_file

    from leanseg.networks import build_network
    from leanseg.training.volumes import Regions, WindowGraph

    torch.set_num_threads(threads)
    network = build_network("trans_bts_v2", config)
    network.load_state_dict(load_file(file))
    return WindowGraph(Regions(network).eval(), bf16=False)


def volumes_of(case: str) -> dict[str, Volume]:
    """Of a folder, or of the phantom."""
    if case:
        return read_case(files_of(Path(case)))
    return {name: Volume(array[None], VolumeGeometry(array.shape)) for name, array in phantom_arrays().items()}


def seconds_of(
    engine: SlidingWindowEngine, volumes: dict[str, Volume], config: BrainPreprocessingConfig, n: int
) -> Any:
    """Of preparing the case and all its windows, or the first n if n is not 0; and how many there were."""
    started, seen = time.perf_counter(), 0

    def progress(done: int, total: int, what: str) -> bool:
        nonlocal seen
        seen = done
        return not n or done < n

    with contextlib.suppress(InferenceCancelled):
        engine.predict(preprocess_brain(volumes, config), progress)
    return {"seconds": time.perf_counter() - started, "windows": seen}


def peak_mb() -> float:
    """Of this process alone: to Linux, what `resource` says of a child is at least the peak of its parent."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(row for row in status.read_text(encoding="utf-8").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    kind, file, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    config = SlidingWindowConfig(tuple(options["window_kji"]), options["overlap"])
    graph = graph_of(kind, file, options["config"], options["threads"])
    engine = SlidingWindowEngine(graph, config, gmacs_per_window=0.0, labels=3)
    preprocessing = BrainPreprocessingConfig(spacing_k_mm=1.0)
    volumes = volumes_of(options["case"])
    for _ in sys.stdin:
        print(json.dumps(seconds_of(engine, volumes, preprocessing, options["windows"])), flush=True)
    print(json.dumps({"peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main()
