"""What a person chooses in the section "Which case next?", kept in a parameter node; and the images that are meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from leanseg.errors import LeanSegError
from leanseg.slicer_bridge.case_models import CaseModels
from leanseg.slicer_bridge.case_pool import FolderPool, Pool, VolumesPool
from leanseg.slicer_bridge.parameters import Parameters, Value
from leanseg.slicer_bridge.updating import Updating

FOLDER, VOLUMES = "folder", "volumes"
DEFAULTS: dict[str, Value] = {
    "source": FOLDER,
    "folder": "",
    "count": 8,  # to suggest
    "models": "",  # that of the panel
    "kept": "",  # by images: what could not be written beside them, and what was skipped
}
Skipped = list[tuple[str, str]]
"""Names of images that could not be ranked, and why"""
_LAST_FOLDER = "LeanSeg/SuggestionsFolder"  # of the application: the dialog begins there


class CaseInputs(Updating):
    """Parameters <-> widgets. `onPool()` is called when other images are meant; `refuse(error)` when something is
    wrong with what was chosen."""

    def __init__(
        self,
        moduleName: str,
        form: Any,
        models: CaseModels,
        onPool: Callable[[], None],
        refuse: Callable[[Exception], None],
    ) -> None:
        self.pool: Pool | None = None
        self.skipped: Skipped = []
        self.problem = ""
        """Why there is no pool"""
        self._parameters = Parameters(f"{moduleName}Cases", DEFAULTS)
        self._form = form
        self._models = models
        self._onPool = onPool
        self._refuse = refuse
        self._opened = ""  # what `pool` was made of
        self._isShown = False
        form.sourceSelector.addItem(_("Folder"), FOLDER)
        form.sourceSelector.addItem(_("Loaded volumes"), VOLUMES)
        form.sourceSelector.connect("currentIndexChanged(int)", self.onChanged)
        form.folderEdit.connect("editingFinished()", self.onChanged)
        form.folderButton.connect("clicked(bool)", self.onChooseFolder)
        form.addModelButton.connect("clicked(bool)", self.onAddModel)
        form.countSpinBox.connect("valueChanged(int)", self.onChanged)
        models.observe(self.onChanged)

    def enter(self) -> None:
        """The module is shown."""
        self._isShown = True
        self._parameters.observe(self.load)
        self.load()
        if self.pool is not None:
            self.refresh()

    def exit(self) -> None:
        """Another module is shown."""
        self._isShown = False
        self._parameters.unobserve()

    def leaveScene(self) -> None:
        """Forget the images; what is known of a folder is in its file."""
        self.pool, self._opened, self.skipped = None, "", []

    def modelsMayDiffer(self) -> None:
        """The panel may have another model."""
        if self._isShown:
            with self.updating():
                self._models.update()

    # Parameters

    def load(self) -> None:
        """Parameters -> widgets."""
        if self.isUpdating or slicer.mrmlScene.IsBatchProcessing():
            return
        form, get = self._form, self._parameters.get
        with self.updating():
            form.sourceSelector.setCurrentIndex(max(form.sourceSelector.findData(get("source")), 0))
            form.folderEdit.text = get("folder")
            form.countSpinBox.value = get("count")
            self._models.load(get("models"))
        self._open()

    def onChanged(self, *_args: Any) -> None:
        """Widgets -> parameters."""
        if self.isUpdating or not self._isShown:
            return
        form = self._form
        with self.updating():
            self._put("source", form.sourceSelector.currentData)
            self._put("folder", form.folderEdit.text.strip())
            self._put("count", form.countSpinBox.value)
            self._put("models", self._models.text)
        self._open()

    def _put(self, key: str, value: Any) -> None:
        if self._parameters.get(key) != value:
            self._parameters.set(key, value)

    def onChooseFolder(self, *_args: Any) -> None:
        start = self._form.folderEdit.text or str(qt.QSettings().value(_LAST_FOLDER) or "")
        folder = self.askForFolder(_("Folder of images"), start)
        if folder:
            qt.QSettings().setValue(_LAST_FOLDER, folder)
            self._form.folderEdit.text = folder
            self.onChanged()

    def onAddModel(self, *_args: Any) -> None:
        folder = self.askForFolder(_("Folder of a model (with card.json)"), "")
        if not folder:
            return
        try:
            with self.updating():
                self._models.add(Path(folder))
        except LeanSegError as error:
            self._refuse(error)
        self.onChanged()

    def askForFolder(self, title: str, start: str) -> str:
        """The dialog; empty where it is left with Cancel."""
        return str(qt.QFileDialog.getExistingDirectory(self._form.widget, title, start))

    # The images

    def refresh(self) -> None:
        """What was wrong with the folder may have been mended, or somebody else may have annotated in it."""
        if self.pool is None or self.pool.isOutdated:
            self._opened = ""
            self._open()

    def _open(self) -> None:
        """Where others are meant than before: what is known of them, without computing anything."""
        isFolder, folder = self._form.sourceSelector.currentData == FOLDER, self._form.folderEdit.text.strip()
        wanted = f"{FOLDER} {folder}" if isFolder else VOLUMES
        if wanted == self._opened:
            return
        self._opened, self.pool, self.problem = wanted, None, ""
        kept = self._kept().get(wanted, {})
        self.skipped = _pairs(kept.get("skipped"))
        state = str(kept.get("state", ""))
        error: LeanSegError | None = None
        try:
            if not isFolder:
                self.pool = VolumesPool(self._parameters, state)
            elif folder:
                self.pool = FolderPool(Path(folder), state)
        except LeanSegError as reason:
            error, self.problem = reason, str(reason)
        self._onPool()
        if error is not None:
            self._refuse(error)

    def save(self) -> None:
        """Beside the images; where that cannot be, in the scene, which a person is told."""
        assert self.pool is not None
        state = ""
        try:
            state = self.pool.save()
        except LeanSegError as error:
            state = self.pool.text
            self._refuse(LeanSegError(_("{error} Until then, the scene keeps the list.").format(error=error)))
        kept = self._kept()
        kept.pop(self._opened, None)
        if state or self.skipped:
            kept[self._opened] = {"state": state, "skipped": self.skipped}
        with self.updating():
            self._put("kept", json.dumps(kept) if kept else "")

    def _kept(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._parameters.get("kept") or "{}"))
        except (ValueError, TypeError):  # of another program
            return {}


def _pairs(values: Any) -> Skipped:
    try:
        return [(str(name), str(reason)) for name, reason in values or ()]
    except (ValueError, TypeError):
        return []
