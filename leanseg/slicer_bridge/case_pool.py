"""The images of which some are to be annotated next: a folder, or the volumes of the scene; and what is known of them.

Of a folder that is a file beside the images; where it cannot be written, and for volumes, the parameter node keeps it.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from numpy.typing import NDArray
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.nodes import checkVolume, volumeFromNode
from leanseg.slicer_bridge.shown_image import isImage

if TYPE_CHECKING:
    from leanseg.suggest import Suggestions
    from leanseg.suggestion_state import SuggestionState
    from leanseg.volume import Volume

Thumbnail = NDArray[np.uint8]
THUMBNAIL_SIDE = 96  # pixels, at most
_PERCENTILES = (1, 99)


class FolderPool:
    """The image files of a folder; their ids are names of files."""

    def __init__(self, folder: Path, unsaved: str = "") -> None:
        """`unsaved`: what `text` gave where `save` failed; it is newer than the file.

        :raises LeanSegError: the file that should hold the state is damaged.
        """
        from leanseg.suggestion_state import STATE_FILE, SuggestionState

        self.folder = folder
        self._file = folder / STATE_FILE
        self._loaded: dict[str, Any] = {}  # somebody may save a volume under another name
        self.state = SuggestionState(folder)
        self._stamp = self._stampOfFile()
        if unsaved:
            self.state = _parsed(unsaved, self.state)
        elif self._file.is_file():
            self.state = self._load()

    def images(self) -> tuple[list[Path | Volume], list[tuple[str, str]]]:
        """Those that can be ranked; name and reason of those that cannot be read at all.

        :raises LeanSegError: no such folder, or no image in it.
        """
        from leanseg.suggest import images_in

        return list(images_in(self.folder)), []

    @property
    def labelled(self) -> list[Path]:
        """Those that are done."""
        return list(self.state.labelled)

    def take(self, suggestions: Suggestions) -> None:
        """What came of `images`; somebody else may have annotated meanwhile."""
        if self.isOutdated and self._file.is_file():
            with suppress(LeanSegError):
                self.state = self._load()
        self.state = self.state.with_suggestions(suggestions)

    def _load(self) -> SuggestionState:
        from leanseg.suggestion_state import SuggestionState

        return SuggestionState.load(self._file)

    def save(self) -> str:
        """Keep the state beside the images.

        :return: what the parameter node has to keep: nothing.
        :raises OutputError: the folder cannot be written; the parameter node has to keep `text`.
        """
        self.state.save(self._file)
        self._stamp = self._stampOfFile()
        return ""

    @property
    def isOutdated(self) -> bool:
        """Whether somebody else has written the file since: another module, or another person."""
        return self._stampOfFile() != self._stamp

    def _stampOfFile(self) -> int:
        try:
            return self._file.stat().st_mtime_ns if self._file.is_file() else 0
        except OSError:
            return 0

    @property
    def text(self) -> str:
        return _text(self.state)

    def name(self, case: str) -> str:
        return Path(case).name

    def node(self, case: str) -> Any:
        """The volume node of an image; it is loaded where it is not in the scene.

        :raises LeanSegError: it is gone, or Slicer cannot load it.
        """
        path = self.state.path_of(case)
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if isImage(node) and self.isNode(case, node):
                return node
        if not path.is_file():
            raise LeanSegError(_("{path} is gone. Press Rank again.").format(path=path))
        try:
            with slicer.util.WaitCursor():
                self._loaded[case] = slicer.util.loadVolume(str(path), {"singleFile": True, "show": False})
        except RuntimeError as error:
            text = _("{path} could not be loaded. Load it by hand (Add Data or DICOM), then choose it as the image.")
            raise LeanSegError(text.format(path=path)) from error
        return self._loaded[case]

    def isNode(self, case: str, node: Any) -> bool:
        """Whether a volume node was loaded from the image."""
        if self._loaded.get(case) is node:
            return True
        storage = node.GetStorageNode()
        return storage is not None and Path(storage.GetFileName() or "") == self.state.path_of(case)

    def source(self, case: str) -> Path:
        """What `thumbnailOf` takes."""
        return self.state.path_of(case)


class VolumesPool:
    """The images of the scene; by each id the parameter node refers to the volume, whatever its own id becomes."""

    labelled: tuple[Path, ...] = ()
    """`images` leaves them out"""
    isOutdated = False

    def __init__(self, parameters: Any, unsaved: str = "") -> None:
        from leanseg.suggestion_state import SuggestionState

        self._parameters = parameters
        self._nodes: dict[str, Any] = {}  # that `images` gave, by id, in its order
        state = _parsed(unsaved, SuggestionState(Path()))
        self.state = replace(state, ranking=tuple(one for one in state.ranking if self._find(one.id) is not None))

    def images(self) -> tuple[list[Path | Volume], list[tuple[str, str]]]:
        """As `FolderPool.images`; the voxels are copied, of those that are not done.

        :raises LeanSegError: none is left, or none can be used.
        """
        known = {case: self._find(case) for case in (*self.state.done, *(one.id for one in self.state.ranking))}
        done = [known[case] for case in self.state.done]
        found: list[Path | Volume] = []
        unusable: list[tuple[str, str]] = []
        self._nodes = {}
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if not isImage(node) or node in done:
                continue
            try:
                found.append(volumeFromNode(node))
            except LeanSegError as error:
                unusable.append((node.GetName(), str(error)))
            else:
                self._nodes[next((case for case in known if known[case] is node), uuid.uuid4().hex)] = node
        if not found:
            nothing = _("No loaded volume is left to rank. Load images, or choose a folder of them.")
            raise LeanSegError(unusable[0][1] if unusable else nothing)
        return found, unusable

    def take(self, suggestions: Suggestions) -> None:
        """What came of `images`: the second of them is called `volume 2` there."""
        from leanseg.suggestion_state import RankedCase

        cases, ranking = list(self._nodes), []
        for one in suggestions.cases:
            case = cases[int(one.id.rpartition(" ")[2]) - 1]
            values = (one.rank, one.is_suggested, one.uncertainty, one.coverage, one.slice_k, one.reason)
            ranking.append(RankedCase(case, *values))
            if self._nodes[case].GetScene() is not None:
                self._parameters.setNode(_role(case), self._nodes[case])
        self.state = replace(self.state, ranking=tuple(ranking), models=suggestions.models, measure=suggestions.measure)

    def save(self) -> str:
        """:return: what the parameter node has to keep: everything."""
        return self.text

    @property
    def text(self) -> str:
        return _text(self.state)

    def name(self, case: str) -> str:
        node = self._find(case)
        return str(_("(removed)") if node is None else node.GetName())

    def node(self, case: str) -> Any:
        """:raises LeanSegError: it was removed."""
        node = self._find(case)
        if node is None:
            raise LeanSegError(_("This volume was removed from the scene. Press Rank again."))
        return node

    def isNode(self, case: str, node: Any) -> bool:
        return self._find(case) is node

    def source(self, case: str) -> NDArray[np.generic] | None:
        """What `thumbnailOf` takes: the voxels (k, j, i); a view, to be used at once."""
        node = self._find(case)
        try:
            checkVolume(node)
        except LeanSegError:
            return None
        array = slicer.util.arrayFromVolume(node)
        return np.asarray(array if array.ndim == 3 else array[..., 0])

    def _find(self, case: str) -> Any:
        return self._parameters.node(_role(case))


Pool = FolderPool | VolumesPool


def withDone(state: SuggestionState, case: str, isDone: bool) -> SuggestionState:
    """What somebody says about one image."""
    others = tuple(one for one in state.done if one != case)
    return replace(state, done=(*others, case) if isDone else others)


def thumbnailOf(source: Path | NDArray[np.generic] | None, k: int) -> Thumbnail | None:
    """Slice k of a file or of voxels (k, j, i), small and gray; None where it cannot be read. In any thread."""
    if source is None:
        return None
    try:
        voxels = _read(source) if isinstance(source, Path) else source
    except LeanSegError:
        return None
    if not 0 <= k < len(voxels):
        return None
    step = max(1, -(-max(voxels.shape[1:]) // THUMBNAIL_SIDE))
    picture = voxels[k, ::step, ::step].astype(np.float32)
    low, high = np.percentile(picture, _PERCENTILES)
    return np.asarray(np.clip((picture - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)


def _read(path: Path) -> NDArray[np.generic]:
    from leanseg.files.images import read_image

    return np.asarray(read_image(path).array[0])


def _role(case: str) -> str:
    return f"case {case}"


def _text(state: SuggestionState) -> str:
    values = {**asdict(state), "folder": state.folder.as_posix()}
    return json.dumps(values)


def _parsed(text: str, empty: SuggestionState) -> SuggestionState:
    """What `_text` wrote; `empty` where a scene has something else."""
    from leanseg.suggestion_state import RankedCase

    try:
        values = json.loads(text or "{}")
        ranking = tuple(RankedCase(**one) for one in values.get("ranking", ()))
        done, models = (tuple(map(str, values.get(key, ()))) for key in ("done", "models"))
        return replace(empty, done=done, ranking=ranking, models=models, measure=str(values.get("measure", "")))
    except (ValueError, TypeError, AttributeError):
        return empty
