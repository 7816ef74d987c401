"""The Masking box of the Segment Editor stand-in; what it sets in the editor node is honored by the real logic."""

import slicer
from PySide6 import QtWidgets

_EDITABLE = (
    ("Everywhere", "EditAllowedEverywhere"),
    ("Inside all segments", "EditAllowedInsideAllSegments"),
    ("Inside all visible segments", "EditAllowedInsideVisibleSegments"),
    ("Outside all segments", "EditAllowedOutsideAllSegments"),
    ("Outside all visible segments", "EditAllowedOutsideVisibleSegments"),
)
_OVERWRITE = (
    ("Overwrite all", "OverwriteAllSegments"),
    ("Overwrite visible", "OverwriteVisibleSegments"),
    ("Allow overlap", "OverwriteNone"),
)


class MaskingBox(QtWidgets.QGroupBox):
    """Editable area, editable intensity range, and what happens to other segments."""

    def __init__(self, parent):
        super().__init__("Masking", parent)
        self._node = None
        self._area = self._combo("MaskModeComboBox", slicer.vtkMRMLSegmentationNode, _EDITABLE, self._setArea)
        self._overwrite = self._combo(
            "OverwriteModeComboBox", slicer.vtkMRMLSegmentEditorNode, _OVERWRITE, self._setOverwrite
        )
        self._intensity = QtWidgets.QCheckBox(self)
        self._intensity.setObjectName("SourceVolumeIntensityMaskCheckBox")
        self._intensity.toggled.connect(self._setIntensity)
        form = QtWidgets.QFormLayout(self)
        form.addRow("Editable area:", self._area)
        form.addRow("Editable intensity range:", self._intensity)
        form.addRow("Modify other segments:", self._overwrite)

    def _combo(self, name, owner, choices, slot):
        combo = QtWidgets.QComboBox(self)
        combo.setObjectName(name)
        for text, constant in choices:
            combo.addItem(text, int(getattr(owner, constant)))
        combo.activated.connect(slot)
        return combo

    def setNode(self, node):
        self._node = node
        self.setEnabled(node is not None)

    def updateFromNode(self):
        if self._node is not None:
            self._area.setCurrentIndex(self._area.findData(self._node.GetMaskMode()))
            self._overwrite.setCurrentIndex(self._overwrite.findData(self._node.GetOverwriteMode()))
            self._intensity.setChecked(self._node.GetSourceVolumeIntensityMask())

    def _setArea(self, index):
        self._node.SetMaskMode(self._area.itemData(index))

    def _setOverwrite(self, index):
        self._node.SetOverwriteMode(self._overwrite.itemData(index))

    def _setIntensity(self, on):
        if self._node is not None:
            self._node.SetSourceVolumeIntensityMask(on)
