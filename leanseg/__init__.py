"""LeanSeg: fast tumor segmentation on a laptop without a GPU.

    model = leanseg.load_engine("t2kd_busi")
    segmentation = leanseg.segment(Path("image.png"), model)

Research only; not for clinical use. The names below are the public surface; each loads what it needs at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from leanseg.answers import answer as answer
    from leanseg.api import Model as Model
    from leanseg.api import list_models as list_models
    from leanseg.api import load_engine as load_engine
    from leanseg.api import measure as measure
    from leanseg.api import segment as segment
    from leanseg.catalog import SYSTEMS as SYSTEMS
    from leanseg.errors import LeanSegError as LeanSegError
    from leanseg.files.images import read_image as read_image
    from leanseg.files.seg_nrrd import write_segmentation as write_segmentation
    from leanseg.files.seg_nrrd import write_volume as write_volume
    from leanseg.inference.precision_comparison import PrecisionComparison as PrecisionComparison
    from leanseg.precisions import compare_precisions as compare_precisions
    from leanseg.question_session import QuestionAnswer as QuestionAnswer
    from leanseg.question_session import QuestionSession as QuestionSession
    from leanseg.references import refer as refer
    from leanseg.referring_session import ReferredObject as ReferredObject
    from leanseg.referring_session import ReferringSession as ReferringSession
    from leanseg.segmentation import Segmentation as Segmentation
    from leanseg.suggest import Suggestions as Suggestions
    from leanseg.suggest import suggest_cases as suggest_cases
    from leanseg.suggestion_state import SuggestionState as SuggestionState
    from leanseg.volume import Volume as Volume
    from leanseg.volume import VolumeGeometry as VolumeGeometry

_HOMES = {
    "answer": "answers",
    "Model": "api",
    "list_models": "api",
    "load_engine": "api",
    "measure": "api",
    "segment": "api",
    "SYSTEMS": "catalog",
    "LeanSegError": "errors",
    "read_image": "files.images",
    "write_segmentation": "files.seg_nrrd",
    "write_volume": "files.seg_nrrd",
    "PrecisionComparison": "inference.precision_comparison",
    "compare_precisions": "precisions",
    "QuestionAnswer": "question_session",
    "QuestionSession": "question_session",
    "refer": "references",
    "ReferredObject": "referring_session",
    "ReferringSession": "referring_session",
    "Segmentation": "segmentation",
    "Suggestions": "suggest",
    "suggest_cases": "suggest",
    "SuggestionState": "suggestion_state",
    "Volume": "volume",
    "VolumeGeometry": "volume",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"leanseg.{_HOMES[name]}"), name)
    raise AttributeError(f"leanseg has no attribute {name!r}; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
