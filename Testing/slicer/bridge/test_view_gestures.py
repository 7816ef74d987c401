"""The left mouse button in slice views of any orientation, as points in the world; the rest stays Slicer's."""

import unittest

import numpy as np
import slicer

from leanseg.slicer_bridge.view_gestures import ViewGestures
from Testing.slicer import gestures


class TestViewGestures(unittest.TestCase):
    def setUp(self):
        self.moved, self.ended = [], []
        self.tool = ViewGestures(
            lambda points, view: self.moved.append((points, view)),
            lambda points, view: self.ended.append((points, view)),
        )
        self.addCleanup(self.tool.stop)
        self.red = slicer.app.layoutManager().sliceWidget("Red")
        gestures.settle(50)

    def worldOf(self, widget, point):
        """Of a pixel: in the views as they start, axes of view and patient are parallel, whatever their signs."""
        matrix = slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS())
        return (matrix @ [*point, 0, 1])[:3]

    def testADragGivesItsPointsAndItsView(self):
        self.tool.start()
        way = [(40, 40), (60, 50), (80, 90)]
        gestures.drag(self.red, way)
        [(points, view)] = self.ended
        self.assertEqual(view.GetName(), "Red")
        np.testing.assert_allclose(points[0], self.worldOf(self.red, way[0]))
        np.testing.assert_allclose(points[-1], self.worldOf(self.red, way[-1]))
        np.testing.assert_allclose(points[:, 2], view.GetSliceOffset())  # all in the slice that is shown
        self.assertTrue(self.moved)

    def testEveryViewCounts(self):
        self.tool.start()
        for name in ("Yellow", "Green"):
            gestures.click(slicer.app.layoutManager().sliceWidget(name), (50, 50))
        self.assertEqual([view.GetName() for _points, view in self.ended], ["Yellow", "Green"])

    def testMovingWithoutTheButtonIsNoGesture(self):
        self.tool.start()
        gestures.moveTo(self.red, (50, 50))
        self.assertEqual((self.moved, self.ended), ([], []))

    def testWithControlOrShiftTheButtonIsSlicers(self):
        self.tool.start()
        gestures.click(self.red, (50, 50), control=True)
        gestures.click(self.red, (50, 50), shift=True)
        self.assertEqual(self.ended, [])

    def testSlicerDoesNotSeeWhatTheToolTakes(self):
        seen = []
        interactor = self.red.sliceView().interactor()
        tag = interactor.AddObserver("LeftButtonPressEvent", lambda *_args: seen.append(1), 0.0)
        self.addCleanup(lambda: interactor.RemoveObserver(tag))
        self.tool.start()
        gestures.click(self.red, (50, 50))
        self.assertEqual(seen, [])
        self.tool.stop()
        gestures.click(self.red, (50, 50))
        self.assertEqual(seen, [1])

    def testAfterStopNothingIsTaken(self):
        self.tool.start()
        self.assertTrue(self.tool.isActive)
        self.tool.stop()
        self.assertFalse(self.tool.isActive)
        gestures.click(self.red, (50, 50))
        self.assertEqual(self.ended, [])
