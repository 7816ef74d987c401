"""The strip by itself: what it paints where, and what mouse and keys over it do."""

import unittest

import qt
from DynamicBrainSegLib.decision_strip import Bar, DecisionStrip

from Testing.slicer import gestures

GRAY, BLUE, ORANGE, RED = "#b4b4b4", "#4488cc", "#ee8822", "#d0342c"
PURPLE = "#571070"
BARS = [
    Bar(GRAY, 0.0),
    Bar(BLUE, 0.5, PURPLE),
    Bar(ORANGE, 1.0, isOverridden=True),
    Bar(GRAY, 0.0),
]


class TestDecisionStrip(unittest.TestCase):
    """128 x 57 px: 14 px at both ends leave 25 px a bar; 8 px below and 9 px above leave 40 px for the highest bar."""

    def setUp(self):
        self.label = qt.QLabel()
        self.label.setFixedSize(128, 57)
        self.chosen, self.asked = [], []
        self.strip = DecisionStrip(self.label, self.chosen.append, lambda index: f"slice {index}")
        self.strip.onMenu = lambda index, point: self.asked.append((index, point.x(), point.y()))
        self.label.show()
        self.strip.show(BARS, None)
        gestures.settle(20)

    def tearDown(self):
        self.strip.close()
        self.label.hide()

    def color(self, x, y):
        return self.label.pixmap.toImage().pixelColor(x, y).name()

    def testTheAreaOfABarIsItsCost(self):
        column = [self.color(45, y) for y in range(57)]
        self.assertEqual(column.count(BLUE), 20)
        self.assertEqual(column.index(BLUE), 29)
        self.assertEqual([self.color(70, y) for y in range(57)].count(ORANGE), 40)

    def testASkippedSliceIsAThinLine(self):
        for x in (20, 95):
            self.assertEqual([self.color(x, y) for y in range(57)].count(GRAY), 3)

    def testUncertaintyLiesBelowItsBarOnly(self):
        self.assertEqual([self.color(45, y) for y in range(51, 57)], [PURPLE] * 6)
        self.assertNotIn(PURPLE, [self.color(x, 54) for x in (20, 70, 95)])

    def testOnlyWhatAPersonDecidedIsMarked(self):
        self.assertEqual([x for x in (20, 45, 70, 95) if self.color(x, 6) == RED], [70])

    def testTheCurrentSliceIsMarkedAndTheMarkMoves(self):
        background = self.color(2, 2)
        self.assertEqual({self.color(x, 2) for x in range(128)}, {background})
        for index, columns in ((1, range(46, 57)), (3, range(96, 107))):  # around the middles of 39 to 63 and 89 to 113
            self.strip.setCurrent(index)
            marked = [x for x in range(128) if self.color(x, 2) != background]
            self.assertTrue(marked and set(marked) <= set(columns), f"{index}: {marked}")

    def testAClickChoosesTheBarBelowItAndBesideThemTheNearest(self):
        for x, index in ((14, 0), (38, 0), (39, 1), (63, 1), (64, 2), (89, 3), (113, 3), (2, 0), (127, 3)):
            gestures.click(self.label, (x, 30))
            self.assertEqual(self.chosen[-1], index, f"at {x}")
        self.assertEqual(len(self.chosen), 9)

    def testEveryColumnBelongsToTheBarThatIsPaintedThere(self):
        """More bars than fit evenly: 7 over 100 px."""
        self.strip.show([Bar(GRAY, 1.0)] * 7, None)
        for index in range(7):
            left, right = self.strip.span(index)
            self.assertGreaterEqual(right - left, 14)
            self.assertEqual({self.strip.indexAt(x) for x in range(left, right)}, {index})

    def testDraggingRunsThroughTheSlices(self):
        gestures.drag(self.label, [(20, 30), (45, 30), (70, 30), (95, 30)])
        self.assertEqual(self.chosen, [0, 1, 2, 3])

    def testThePointedSliceIsDescribed(self):
        at, none = qt.QPointF(70, 30), qt.Qt.NoButton
        event = qt.QMouseEvent(qt.QEvent.MouseMove, at, at, none, none, qt.Qt.NoModifier)
        qt.QCoreApplication.sendEvent(self.label, event)
        self.assertEqual(self.label.toolTip, "slice 2")
        self.assertEqual(self.chosen, [])

    def testKeysStepThroughTheSlices(self):
        self.strip.setCurrent(1)
        for code, index in ((qt.Qt.Key_Right, 2), (qt.Qt.Key_Left, 0), (qt.Qt.Key_End, 3), (qt.Qt.Key_Home, 0)):
            gestures.key(self.label, code)
            self.assertEqual(self.chosen[-1], index)
        gestures.key(self.label, qt.Qt.Key_PageUp)
        self.assertEqual(self.chosen[-1], 3, "ten further, but there are four")

    def testTheContextMenuIsAskedForWithItsSlice(self):
        point = qt.QPoint(45, 30)
        event = qt.QContextMenuEvent(qt.QContextMenuEvent.Mouse, point, self.label.mapToGlobal(point))
        qt.QCoreApplication.sendEvent(self.label, event)
        [(index, _x, _y)] = self.asked
        self.assertEqual(index, 1)
        self.assertEqual(self.chosen, [])

    def testItIsPaintedAnewInAnotherSize(self):
        self.label.setFixedSize(228, 57)
        gestures.settle(20)
        self.assertEqual(self.label.pixmap.width(), 228)
        gestures.click(self.label, (70, 30))
        self.assertEqual(self.chosen, [1], "50 px a bar now")

    def testAnEmptyStripAnswersNothing(self):
        self.strip.show([], None)
        gestures.click(self.label)
        gestures.key(self.label, qt.Qt.Key_Right)
        self.assertEqual(self.chosen, [])
        self.assertEqual({self.color(x, 30) for x in range(20, 110)}, {self.color(2, 2)})

    def testAfterClosingNothingIsCalled(self):
        self.strip.close()
        gestures.click(self.label)
        self.assertEqual(self.chosen, [])
