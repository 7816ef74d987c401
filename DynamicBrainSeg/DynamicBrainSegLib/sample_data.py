"""The simulated brain as sample data: made on demand, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from DynamicBrainSegLib.inputs import label

CATEGORY = "LeanSeg"
BRAIN = "BrainTumorPhantom"


def registerSampleData() -> None:
    """Add the phantom to the module Sample Data."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and later
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    icon = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / f"{BRAIN}.png"
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=BRAIN,
        uris=f"leanseg:{BRAIN}",  # never opened: the custom downloader comes first
        fileNames=f"{BRAIN}.nrrd",
        nodeNames=BRAIN,
        thumbnailFileName=str(icon),
        customDownloader=loadPhantom,
    )


def loadPhantom(_source: Any) -> list[Any]:
    """Called by Sample Data: make the phantom and show it in the slice views."""
    return list(addPhantom().values())


def addPhantom(spacing_kji_mm: tuple[float, float, float] = (2.0, 1.0, 1.0)) -> dict[str, Any]:
    """New volume nodes in the scene by sequence, FLAIR shown in the slice views."""
    from leanseg.brain_phantom import brain_phantom
    from leanseg.slicer_bridge.nodes import scalarVolumeNode

    phantom = brain_phantom(spacing_kji_mm)
    slicer.util.showStatusMessage(_("Made {name}: simulated, not of a patient.").format(name=BRAIN), 3000)
    nodes = {}
    for name, volume in phantom.volumes.items():
        unique = slicer.mrmlScene.GenerateUniqueName(f"{BRAIN} {label(name)}")
        nodes[name] = scalarVolumeNode(unique, volume.array[0], volume.geometry)
    slicer.util.setSliceViewerLayers(background=nodes["flair"], fit=True)
    return nodes
