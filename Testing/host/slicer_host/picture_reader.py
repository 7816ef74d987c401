"""Stands in for ITK's picture readers, which slicer-core lacks: VTK reads the picture, placed as ITK and Slicer do."""

import vtk

_READERS = {
    ".png": vtk.vtkPNGReader,
    ".jpg": vtk.vtkJPEGReader,
    ".jpeg": vtk.vtkJPEGReader,
    ".bmp": vtk.vtkBMPReader,
    ".tif": vtk.vtkTIFFReader,
    ".tiff": vtk.vtkTIFFReader,
}
ENDINGS = tuple(_READERS)


def addPicture(scene, path, name):
    """A scalar volume for a gray picture, a vector volume for a color one, or None where the file is no picture.

    One slice, row 0 at the top, spacing 1; the first pixel lies at RAS (0, 0, 0), the axes point to left and posterior.
    """
    reader = _READERS[path.suffix.lower()]()
    if not reader.CanReadFile(str(path)):
        return None
    reader.SetFileName(str(path))
    flip = vtk.vtkImageFlip()  # VTK starts with the lowest row
    flip.SetInputConnection(reader.GetOutputPort())
    flip.SetFilteredAxis(1)
    flip.Update()
    picture = flip.GetOutput()
    picture.SetOrigin(0, 0, 0)
    picture.SetSpacing(1, 1, 1)
    isGray = picture.GetNumberOfScalarComponents() == 1
    className = "vtkMRMLScalarVolumeNode" if isGray else "vtkMRMLVectorVolumeNode"
    node = scene.AddNewNodeByClass(className, scene.GenerateUniqueName(name))
    node.SetAndObserveImageData(picture)
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node.CreateDefaultDisplayNodes()
    return node
