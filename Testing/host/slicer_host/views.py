"""Slice and 3-D views on VTK render windows, with Slicer's own displayable managers: rendered without Qt or display."""

import os

# Needs no display; read when VTK makes a window.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)
_THREE_D_MANAGERS = (
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
)
_START_SIZE = (200, 200)


class _View:
    """A render window with displayable managers and an interactor; `node` is its view node, `logic` its MRML logic."""

    def __init__(self, applicationLogic, factory, managers, style):
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*_START_SIZE)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.addOverlay()
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        # The default style would take the mouse from Slicer's.
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle())
        self.interactor.Initialize()
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        instance = factory.GetInstance()
        instance.SetMRMLApplicationLogic(applicationLogic)
        for manager in managers:
            if not instance.IsDisplayableManagerRegistered(manager):
                instance.RegisterDisplayableManager(manager)
        self.managers.Initialize(instance, self.renderer)
        self.style = style
        style.SetDisplayableManagers(self.managers)

    def addOverlay(self):
        """Nothing lies over the scene, unless a view says so."""

    def resize(self, width, height):
        self.window.SetSize(max(width, 10), max(height, 10))

    def pixels(self):
        """Render once, and give the picture: uint8 (row, column, RGB), upper row first."""
        self.window.Render()
        width, height = self.window.GetSize()
        rgb = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, rgb, 0)
        return np.ascontiguousarray(vtk_to_numpy(rgb).reshape(height, width, 3)[::-1])


class SliceView(_View):
    """A slice through the volumes, blended by the real vtkMRMLSliceLogic."""

    def __init__(self, scene, name, orientation):
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        super().__init__(
            scene.applicationLogic, slicer.vtkMRMLSliceViewDisplayableManagerFactory, _SLICE_MANAGERS, style
        )
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(scene.applicationLogic)
        scene.applicationLogic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene.mrmlScene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        style.SetSliceLogic(self.logic)
        self.managers.SetMRMLDisplayableNode(self.node)
        style.SetInteractor(self.interactor)
        self._picture = self._addPicture()
        self.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._showPicture)
        self.resize(*_START_SIZE)

    def addOverlay(self):
        """The managers of a slice view draw on layer 1."""
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        overlay.GetActiveCamera().ParallelProjectionOn()
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(overlay)

    def _addPicture(self):
        """In Slicer a CTK class puts the blended image into the view."""
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        picture = vtk.vtkActor2D()
        picture.SetMapper(mapper)
        picture.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(picture)
        picture.VisibilityOff()
        return picture

    def _showPicture(self, *_event):
        image = self.logic.GetImageDataConnection()
        self._picture.GetMapper().SetInputConnection(image)
        self._picture.SetVisibility(image is not None)

    def resize(self, width, height):
        super().resize(width, height)
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self._showPicture()


class ThreeDView(_View):
    """Surfaces and volume rendering in the colors of Slicer's 3-D view."""

    def __init__(self, scene, name):
        style = slicer.vtkMRMLThreeDViewInteractorStyle()
        super().__init__(
            scene.applicationLogic, slicer.vtkMRMLThreeDViewDisplayableManagerFactory, _THREE_D_MANAGERS, style
        )
        self.renderer.SetUseDepthPeeling(1)
        style.SetInteractor(self.interactor)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(scene.applicationLogic)
        scene.applicationLogic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene.mrmlScene)
        self.node = self.logic.AddViewNode(name)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.renderer.SetBackground(0.75, 0.76, 0.91)
        self.renderer.SetBackground2(0.45, 0.47, 0.74)
        self.renderer.SetGradientBackground(1)

    def lookAtContents(self):
        """As qMRMLThreeDView does: box and labels do not count for the middle, and are fitted to the contents then."""
        shown = self.node.GetBoxVisible(), self.node.GetAxisLabelsVisible()
        self._showBox(False, False)
        bounds = self.renderer.ComputeVisiblePropBounds()
        camera = self.renderer.GetActiveCamera()
        camera.SetFocalPoint(*(int((low + high) / 2) for low, high in zip(bounds[::2], bounds[1::2], strict=True)))
        camera.ComputeViewPlaneNormal()
        camera.OrthogonalizeViewUp()
        self.renderer.UpdateLightsGeometryToFollowCamera()
        self._showBox(*shown)
        self.node.InvokeEvent(slicer.vtkMRMLViewNode.ResetFocalPointRequestedEvent)

    def _showBox(self, box, labels):
        modified = self.node.StartModify()
        self.node.SetBoxVisible(box)
        self.node.SetAxisLabelsVisible(labels)
        self.node.EndModify(modified)
