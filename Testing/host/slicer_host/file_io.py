"""Stands in for qSlicerCoreIOManager, whose readers are Qt classes; their logics and the storage nodes are real."""

from pathlib import Path

import vtk
from slicer_host import picture_reader
from slicer_host.record import Recorded, stubsUsed

# The first ending that fits names the file type, as `slicer.util.loadNodeFromFile` uses it.
_FILE_TYPES = (
    ("SegmentationFile", (".seg.nrrd", ".seg.nhdr")),
    ("SceneFile", (".mrml", ".mrb")),
    ("VolumeFile", (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm", *picture_reader.ENDINGS)),
)
# Options of vtkSlicerVolumesLogic.AddArchetypeVolume, a bit each.
_VOLUME_OPTIONS = {"labelmap": 1, "center": 2, "singleFile": 4, "autoWindowLevel": 8, "discardOrientation": 16}


class FileIO(Recorded):
    """`slicer.app.coreIOManager()`, as far as `slicer.util` calls it."""

    def __init__(self, scene):
        self._scene = scene

    def fileType(self, fileName):
        name = str(fileName).lower()
        return next((kind for kind, endings in _FILE_TYPES if name.endswith(endings)), "NoFile")

    def loadNodes(self, fileType, properties, loadedNodes=None, userMessages=None):
        """Load a file as the given type; False where there is no such file, or the reader fails."""
        fileName = str(properties["fileName"])
        if not Path(fileName).exists():
            return False
        if fileType == "SceneFile":
            return self._loadScene(fileName, bool(properties.get("clear", False)))
        reader = getattr(self, "_load" + fileType, None)
        if reader is None:
            stubsUsed.add(f"reading a {fileType}")
            return False
        node = reader(fileName, properties.get("name") or Path(fileName).name.split(".")[0], properties)
        if node is None:
            return False
        if loadedNodes is not None:
            loadedNodes.AddItem(node)
        return True

    def _loadScene(self, fileName, clear):
        scene = self._scene.mrmlScene
        if fileName.lower().endswith(".mrb"):
            return bool(scene.ReadFromMRB(fileName, clear))
        scene.SetURL(fileName)
        return bool(scene.Connect() if clear else scene.Import())

    def _loadVolumeFile(self, fileName, name, properties):
        options = sum(bit for key, bit in _VOLUME_OPTIONS.items() if properties.get(key, key == "autoWindowLevel"))
        arguments = [fileName, name, options]
        if properties.get("fileNames"):
            files = vtk.vtkStringArray()
            for each in properties["fileNames"]:
                files.InsertNextValue(str(each))
            arguments.append(files)
        if fileName.lower().endswith(picture_reader.ENDINGS):
            node = picture_reader.addPicture(self._scene.mrmlScene, Path(fileName), name)
        else:
            node = self._scene.logics["Volumes"].AddArchetypeVolume(*arguments)
        if node is not None and properties.get("show", True) and not properties.get("labelmap"):
            selection = self._scene.applicationLogic.GetSelectionNode()
            selection.SetReferenceActiveVolumeID(node.GetID())
            self._scene.applicationLogic.PropagateVolumeSelection()
        return node

    def _loadSegmentationFile(self, fileName, name, properties):
        return self._scene.logics["Segmentations"].LoadSegmentationFromFile(
            fileName, properties.get("autoOpacities", True), name
        )

    def fileWriterFileType(self, node):
        return "SceneFile" if node is self._scene.mrmlScene else "NodeFile"

    def saveNodes(self, fileType, properties, userMessages=None):
        """Write the scene, or one node through its storage node; False where nothing could be written."""
        fileName = str(properties["fileName"])
        scene = self._scene.mrmlScene
        if fileType == "SceneFile":
            scene.SetURL(fileName)
            scene.SetRootDirectory(str(Path(fileName).resolve().parent))
            return bool(scene.WriteToMRB(fileName) if fileName.lower().endswith(".mrb") else scene.Commit(fileName))
        node = scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(fileName)
        storage = node.GetStorageNode()
        if storage is None:
            return False
        storage.SetFileName(fileName)
        storage.SetUseCompression(int(properties.get("useCompression", storage.GetUseCompression())))
        return bool(storage.WriteData(node))
