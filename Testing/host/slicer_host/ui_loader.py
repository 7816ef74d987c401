"""qt.QUiLoader: Qt's own loader of Designer files, with the stand-ins for Slicer's widgets."""

import xml.etree.ElementTree as ElementTree
from typing import ClassVar

from PySide6 import QtCore, QtUiTools
from slicer_host.record import stubsUsed


class UiLoader(QtUiTools.QUiLoader):
    """Loads a Designer file; a class or property of it that the host does not model is recorded in stubsUsed."""

    standIns: ClassVar[dict] = {}  # class name -> stand-in

    def createWidget(self, className, parent=None, name=""):
        if className not in self.standIns:
            return super().createWidget(className, parent, name)
        widget = self.standIns[className](parent)
        widget.setObjectName(name)
        return widget

    def load(self, device, parent=None):
        """The widget of an open QFile or a path. Connections in it are made here: Qt would look for C++ slots."""
        if isinstance(device, str):
            device = QtCore.QFile(device)
        if not device.isOpen():
            device.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        device.close()
        self._recordUnknown(root)
        connections = root.findall("connections/connection")
        for section in root.findall("connections"):
            root.remove(section)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        recorded = set(stubsUsed)
        widget = super().load(buffer, parent)
        stubsUsed.intersection_update(recorded)  # PySide6 asks the top widget for an attribute per descendant
        if widget is not None:
            _connect(widget, connections)
        return widget

    def _recordUnknown(self, root):
        stubsUsed.update(
            each.text for each in root.findall("customwidgets/customwidget/class") if each.text not in self.standIns
        )
        for element in root.iter("widget"):
            cls = self.standIns.get(element.get("class"))
            for each in element.findall("property") if cls else ():
                isDynamic = each.get("stdset") == "0"
                if not isDynamic and cls.staticMetaObject.indexOfProperty(each.get("name")) < 0:
                    stubsUsed.add(f"{cls.__name__}.{each.get('name')}")


def _connect(widget, connections):
    byName = {each.objectName: each for each in [widget, *widget.findChildren()]}
    for each in connections:
        sender, receiver = byName.get(each.findtext("sender")), byName.get(each.findtext("receiver"))
        if sender is not None and receiver is not None:
            sender.connect(each.findtext("signal"), receiver, each.findtext("slot"))
