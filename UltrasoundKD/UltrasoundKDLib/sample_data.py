"""The project's phantom as sample data: made on demand, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

CATEGORY = "LeanSeg"
STILL_IMAGE = "BreastUltrasoundPhantom"
CLIP = "BreastUltrasoundClip"
CLIP_FRAMES = 12


def registerSampleData() -> None:
    """Add the phantoms to the module Sample Data."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    icons = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
    for name in (STILL_IMAGE, CLIP):
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            uris=f"leanseg:{name}",  # never opened: the custom downloader comes first
            fileNames=f"{name}.nrrd",
            nodeNames=name,
            thumbnailFileName=str(icons / f"{name}.png"),
            customDownloader=loadPhantom,
        )


def loadPhantom(source: Any) -> list[Any]:
    """Called by Sample Data: make the phantom of this source and show it in the slice views."""
    return [addPhantom(source.sampleName)]


def addPhantom(name: str) -> Any:
    """A new volume node in the scene, shown in the slice views.

    :param name: STILL_IMAGE, an irregular lesion with a shadow; or CLIP, a smooth one, moving, in CLIP_FRAMES frames.
    """
    from leanseg.phantom import ultrasound_phantom
    from leanseg.slicer_bridge.nodes import scalarVolumeNode

    if name == CLIP:
        phantom = ultrasound_phantom("benign", seed=2, frames=CLIP_FRAMES)
    else:
        phantom = ultrasound_phantom("malignant", seed=1)
    slicer.util.showStatusMessage(_("Made {name}: simulated, not of a patient.").format(name=name), 3000)
    node = scalarVolumeNode(slicer.mrmlScene.GenerateUniqueName(name), phantom.image.array[0], phantom.image.geometry)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node
