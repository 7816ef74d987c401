"""Which volume of the scene is which MRI sequence: a guess from names and DICOM descriptions, for a person to check."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from leanseg.errors import IncompatibleInputError
from leanseg.files.sequence_names import sequence_of
from leanseg.slicer_bridge.nodes import checkVolume, geometryFromNode

_SERIES_DESCRIPTION, _CONTRAST_AGENT = "0008,103e", "0018,0010"
_NO_AGENT = ("", "no", "none")
_BEFORE_AGENT = {"pre", "precontrast", "native"}


def guessSequences(volumeNodes: Iterable[Any]) -> dict[str, Any]:
    """Sequence -> volume node, where one was found; never volumes of two patients.

    A node's name is asked first, then its DICOM series description, then its file. Of several nodes for one sequence
    those win that belong together: same patient, same voxels, names that are alike; else the first ones. Nodes that
    cannot be used (labelmaps, color, ...) or are hidden are left out.
    """
    known = [(node, sequence) for node in volumeNodes if (sequence := sequenceOfNode(node)) is not None]
    best: dict[str, Any] = {}
    bestScore = -1.0
    for seed, ownSequence in known:
        found = {ownSequence: seed}
        for node, sequence in known:
            affinity = _affinity(seed, node)
            if sequence == ownSequence or affinity is None:
                continue
            if sequence not in found or affinity > _affinity(seed, found[sequence]):
                found[sequence] = node
        score = sum(1 + _affinity(seed, node) for node in found.values())
        if score > bestScore:
            best, bestScore = found, score
    return best


def sequenceOfNode(node: Any) -> str | None:
    """`flair`, `t1ce`, `t1` or `t2`; None where nothing says it, or the node is no image that a person chooses."""
    if node is None or node.GetHideFromEditors():
        return None
    try:
        checkVolume(node)
    except IncompatibleInputError:
        return None
    description, agent = _dicomValues(node)
    storage = node.GetStorageNode()
    file = Path(storage.GetFileName() or "").name if storage is not None else ""
    texts = [text for text in (node.GetName() or "", description, file) if text]
    guesses = [guess for guess in map(sequence_of, texts) if guess is not None]
    if not guesses:
        return None
    isT1 = guesses[0] == "t1" and not _BEFORE_AGENT & set(re.findall("[a-z]+", " ".join(texts).lower()))
    return "t1ce" if isT1 and agent.strip().lower() not in _NO_AGENT else guesses[0]


def _dicomValues(node: Any) -> tuple[str, str]:
    """Series description and contrast agent of a volume that was loaded from DICOM; else empty."""
    database = getattr(slicer, "dicomDatabase", None)
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if database is None or not instances:
        return "", ""
    return tuple(database.instanceValue(instances[0], tag) or "" for tag in (_SERIES_DESCRIPTION, _CONTRAST_AGENT))


def _affinity(a: Any, b: Any) -> float | None:
    """0 to 3: how much speaks for one examination; None where they are of two patients."""
    patients = _patientOf(a), _patientOf(b)
    if all(patients) and patients[0] != patients[1]:
        return None
    names = a.GetName() or "", b.GetName() or ""
    alike = SequenceMatcher(None, *names, autojunk=False).ratio()
    first, second = geometryFromNode(a), geometryFromNode(b)
    isSameGrid = first.shape == second.shape and np.allclose(first.ijk_to_ras, second.ijk_to_ras, atol=1e-3)
    return (all(patients) and patients[0] == patients[1]) + alike + 0.5 * isSameGrid


def _patientOf(node: Any) -> int:
    """Item of the patient in the subject hierarchy; 0 where there is none."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    item = hierarchy.GetItemByDataNode(node)
    return hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient()) if item else 0
