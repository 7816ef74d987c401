"""Are exchanged sequences noticed? `python benchmarks/exchanged_sequences.py ROOT [--json R.json]`.

ROOT holds BraTS cases with FLAIR, T1ce, T1 and T2. `sequence_warnings` sees every case as it is, in every subset of two
to four sequences, and with every two of all four exchanged. The rule was chosen on the same 16 cases of BraTS 2018 that
it is measured on.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

from leanseg.processing.brain import SEQUENCES
from leanseg.processing.plausibility import sequence_label, sequence_warnings
from leanseg.training.data.brats import read_cases, read_sequences


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    counts = dict.fromkeys(("cases", "unchanged", "false alarms", "exchanges", "noticed", "named"), 0)
    for case in read_cases(arguments.root):
        volumes = read_sequences(case)
        if set(volumes) != set(SEQUENCES):
            continue
        counts["cases"] += 1
        for number in (2, 3, 4):
            for some in combinations(SEQUENCES, number):
                counts["unchanged"] += 1
                counts["false alarms"] += bool(sequence_warnings({name: volumes[name] for name in some}))
        for a, b in combinations(SEQUENCES, 2):
            warnings = sequence_warnings({**volumes, a: volumes[b], b: volumes[a]})
            counts["exchanges"] += 1
            counts["noticed"] += bool(warnings)
            one, other = sequence_label(a), sequence_label(b)
            alone = (f"{one} and {other} look exchanged", f"{other} and {one} look exchanged")
            counts["named"] += bool(warnings) and warnings[0].startswith(alone)
    for name, number in counts.items():
        print(f"{name}: {number}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
