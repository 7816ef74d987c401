"""Finds the parts of the module, which the tests here import; in Slicer, its module path does."""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).resolve().parents[3] / "TextGuidedSeg")
if _FOLDER not in sys.path:
    sys.path.append(_FOLDER)
