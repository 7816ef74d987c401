"""The slice views: a volume shown in them, and what a person sees there, as an array."""

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


def sliceNode(name="Red"):
    return slicer.mrmlScene.GetNodeByID(f"vtkMRMLSliceNode{name}")


def showVolume(node):
    """As a person sees it after loading: in all views, views in their default directions."""
    for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        sliceNode(name).SetOrientation(orientation)
    slicer.util.setSliceViewerLayers(background=node, fit=True)


def pixelsOf(name):
    """(height, width, 3) uint8 of a slice view, freshly rendered, upper row first."""
    slicer.app.processEvents()
    view = slicer.app.layoutManager().sliceWidget(name).sliceView()
    view.forceRender()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.renderWindow())
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _depth = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()
