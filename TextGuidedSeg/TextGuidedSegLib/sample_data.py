"""A simulated breast MRI with a tumor on either side as sample data: made on demand, nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

if TYPE_CHECKING:
    import numpy as np

CATEGORY = "LeanSeg"
BREASTS = "BreastMRIPhantom"
SEED, SLICES = 3, 9  # one tumor in each breast
PROMPT = "mass, right"


@dataclass(frozen=True, eq=False)
class Sample:
    """The phantom in the scene, and what is known of it."""

    node: Any
    slice: int
    """In which both tumors are seen"""
    named: np.ndarray
    """(j, i) bool: in this slice, the tumor that `PROMPT` names"""
    other: np.ndarray
    """(j, i) bool: the other one"""


def registerSampleData() -> None:
    """Add the phantom to the module Sample Data."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    icon = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / f"{BREASTS}.png"
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=BREASTS,
        uris=f"leanseg:{BREASTS}",  # never opened: the custom downloader comes first
        fileNames=f"{BREASTS}.nrrd",
        nodeNames=BREASTS,
        thumbnailFileName=str(icon),
        customDownloader=loadPhantom,
    )


def loadPhantom(_source: Any) -> list[Any]:
    """Called by Sample Data: make the phantom and show it in the slice views."""
    return [addPhantom().node]


def addPhantom() -> Sample:
    """A new volume node in the scene, shown in the slice views."""
    from leanseg.slicer_bridge.nodes import scalarVolumeNode
    from leanseg.text_phantom import text_phantom

    phantom = text_phantom("mri", seed=SEED, lesions=2, slices=SLICES)
    slicer.util.showStatusMessage(_("Made {name}: simulated, not of a patient.").format(name=BREASTS), 3000)
    name = slicer.mrmlScene.GenerateUniqueName(BREASTS)
    node = scalarVolumeNode(name, phantom.image.array[0], phantom.image.geometry)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    middle = SLICES // 2
    lesions = phantom.lesions[middle]
    isOnTheRight = lesions > 0  # of the patient: on the left of the picture
    isOnTheRight[:, lesions.shape[1] // 2 :] = False
    return Sample(node, middle, isOnTheRight, (lesions > 0) & ~isOnTheRight)
