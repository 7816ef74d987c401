"""Parts of the module TextGuidedSeg. Finds `leanseg`, which all of them use."""

import sys
from importlib.util import find_spec
from pathlib import Path

# Installed, `leanseg` lies beside the module and Slicer finds it. In a source tree it is one folder up.
if find_spec("leanseg") is None:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
