"""A result as segments: nested WT, TC, ET or exclusive ED, NCR, ET, in one step that one Undo takes back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from DynamicBrainSegLib.result import NESTED
from leanseg.errors import IncompatibleInputError
from leanseg.slicer_bridge.frames import VolumeFrames
from leanseg.slicer_bridge.history import checksumOf, contentsOf
from leanseg.slicer_bridge.nodes import geometryFromNode
from leanseg.slicer_bridge.placement import placeMasks
from leanseg.slicer_bridge.segments import addSegment, segmentationFor

if TYPE_CHECKING:
    from DynamicBrainSegLib.result import BrainResult
    from leanseg.segmentation import Segment
    from leanseg.slicer_bridge.segments import SegmentWriter

_ORIGIN = "DynamicBrainSeg.Origin"  # tag of a segment: JSON of a RegionOrigin; saved with the segmentation
_CATEGORY = "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
_BRAIN = "~^^~Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"
# A whole tumor has edema in it, which is not neoplastic: so it is the lesion, and the core the neoplasm.
_CODES = {"WT": "SCT^52988006^Lesion", "TC": "SCT^108369006^Neoplasm"}


@dataclass(frozen=True)
class RegionOrigin:
    """How a segment came about."""

    region: str
    scheme: str
    model: str
    precision: str
    sequences: str
    """Those that the model saw, e.g. `flair t1ce`"""
    costBias: float
    run: str
    """Another one for each call of `writeRegions`"""
    checksum: int
    """Of the segment as the model has it: another one now means that somebody has edited the segment"""


@dataclass(frozen=True)
class WrittenRegions:
    """What `writeRegions` did."""

    segmentationNode: Any
    ids: dict[str, str]
    """Segment id by region, in the order of writing"""
    losers: list[str]
    """Ids of other segments that lost voxels"""


def newSegmentation(referenceNode: Any) -> Any:
    """An empty segmentation on the voxels of a volume.

    :raises IncompatibleInputError: the volume cannot be used.
    """
    return segmentationFor(referenceNode, f"{referenceNode.GetName()} tumor")


def regionSegments(result: BrainResult, scheme: str) -> tuple[Segment, ...]:
    """Names, colors and codes of the segments of a scheme, largest first."""
    labels = result.segmentation.segments
    if scheme != NESTED:
        return labels
    pairs = zip(result.run.config.regions, labels, strict=True)
    return tuple(_nested(region, label) if region in _CODES else label for region, label in pairs)


def _nested(region: str, label: Segment) -> Segment:
    """In the color of the label that is left of it without the next smaller region."""
    name = _("Whole tumor (WT)") if region == "WT" else _("Tumor core (TC)")
    return replace(label, id=region, name=name, terminology=f"{_CATEGORY}~{_CODES[region]}{_BRAIN}")


def writeRegions(
    result: BrainResult,
    segmentationNode: Any,
    scheme: str,
    writer: SegmentWriter,
    slices: Iterable[int] | None = None,
) -> WrittenRegions:
    """Write a result into a segmentation, of which `newSegmentation` makes one; one state for undo.

    Segments that an earlier run has written there are replaced (see `editedRegions`); all others stay, but for what
    masking and overwrite mode of the writer's editor node give to these.

    :param scheme: NESTED or EXCLUSIVE
    :param slices: of the model grid; only voxels of the reference that they reach are written, and what was corrected
        elsewhere stays. The segmentation must hold what the model found in the others. None: everything is written.
    :raises LeanSegError: nothing was written; the segmentation is as it was.
    """
    referenceNode = result.images.referenceNode
    _checkReference(result, referenceNode)
    frames = VolumeFrames(referenceNode)
    # All frames: what an earlier run has written in others must go.
    masks = {name: dict(enumerate(mask)) for name, mask in result.masks(scheme).items()}
    for ofFrames in masks.values():
        writer.check(segmentationNode, "", frames, ofFrames)  # a failure is to leave no state for undo
    within = None if slices is None else {k: part for k, part in enumerate(result.reach(slices)) if part.any()}
    with writer.oneState(segmentationNode):
        ids = _idsOf(segmentationNode, regionSegments(result, scheme), scheme)
        edited = set() if within is None else set(editedRegions(segmentationNode, scheme))
        ofIds = {ids[name]: _only(within, ofFrames) for name, ofFrames in masks.items()}
        losers = writer.writeTogether(segmentationNode, frames, ofIds, scheme == NESTED, within)
        contents = dict(contentsOf(segmentationNode.GetSegmentation()))
        for name, segmentId in ids.items():
            if segmentId in edited:  # and it still is, unless that was in the slices that were written
                contents[segmentId] = checksumOf(placeMasks(segmentationNode, referenceNode, masks[name]))
        _remember(result, segmentationNode, ids, scheme, contents)
    return WrittenRegions(segmentationNode, ids, losers)


def _only(frames: Mapping[int, Any] | None, masks: Mapping[int, Any]) -> Mapping[int, Any]:
    return masks if frames is None else {k: masks[k] for k in frames}


def originOf(segment: Any) -> RegionOrigin | None:
    """How a vtkSegment came about; None where this module has not written it."""
    text = _tag(segment)
    try:
        return RegionOrigin(**json.loads(text)) if text else None
    except (ValueError, TypeError):  # of another version, or changed by hand
        return None


def writtenRegions(segmentationNode: Any) -> dict[str, RegionOrigin]:
    """Id -> origin of the segments that this module has written, in the order of the segmentation."""
    segmentation = segmentationNode.GetSegmentation()
    origins = {name: originOf(segmentation.GetSegment(name)) for name in segmentation.GetSegmentIDs()}
    return {name: origin for name, origin in origins.items() if origin is not None}


def editedRegions(segmentationNode: Any, scheme: str | None = None) -> list[str]:
    """Ids of the segments that this module has written (of a scheme, or of any) and somebody has changed since.

    Writing the same scheme again replaces them, so ask first.
    """
    now = dict(contentsOf(segmentationNode.GetSegmentation()))
    origins = writtenRegions(segmentationNode).items()
    return [name for name, origin in origins if scheme in (None, origin.scheme) and now[name] != origin.checksum]


def _checkReference(result: BrainResult, referenceNode: Any) -> None:
    """The volume may have been removed, or changed, since its voxels were read."""
    shape = geometryFromNode(referenceNode).shape
    if shape != result.segmentation.geometry.shape:
        text = _("{name} has {now} voxels (k, j, i), but had {then} when the result was made. Press Segment again.")
        then = result.segmentation.geometry.shape
        raise IncompatibleInputError(text.format(name=referenceNode.GetName(), now=shape, then=then))


def _idsOf(segmentationNode: Any, segments: tuple[Segment, ...], scheme: str) -> dict[str, str]:
    """Region -> id of the segment that an earlier run has written, or of a new one."""
    earlier = {(o.region, o.scheme): name for name, o in writtenRegions(segmentationNode).items()}
    return {one.id: earlier.get((one.id, scheme)) or addSegment(segmentationNode, one) for one in segments}


def _remember(
    result: BrainResult, segmentationNode: Any, ids: Mapping[str, str], scheme: str, contents: Mapping[str, int]
) -> None:
    """`contents`: checksum of each segment as the model has it."""
    model, run = result.run.model, uuid.uuid4().hex
    for region, name in ids.items():
        origin = RegionOrigin(
            region=region,
            scheme=scheme,
            model=model.card.id,
            precision=model.precision,
            sequences=" ".join(result.sequences),
            costBias=result.options.costBias,
            run=run,
            checksum=contents[name],
        )
        segmentationNode.GetSegmentation().GetSegment(name).SetTag(_ORIGIN, json.dumps(vars(origin)))


def _tag(segment: Any) -> str:
    from vtk import reference

    text = reference("")
    return str(text) if segment.GetTag(_ORIGIN, text) else ""
