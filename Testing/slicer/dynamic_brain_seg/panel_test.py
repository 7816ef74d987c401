"""What the scenarios have in common: the panel with a brain in four sequences, and what a person sees of it.

The model is the one of `brain_model`, whose answers are known; its slices are -24 to 64 mm, 4 mm apart, 23 in all. The
tumor reaches from 14 to 46 mm. So slices 11 to 16 are whole, 10 and 17 cropped (47 pixels each), all others skipped.
"""

import time
import unittest
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import numpy as np
import qt
import slicer

from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg import brain_model, brain_phantom

SLICES, LOWEST_MM, STEP_MM = 23, -24, 4
CROPPED, WHOLE = {10, 17}, set(range(11, 17))
SKIPPED = set(range(SLICES)) - CROPPED - WHOLE
NAMES = {"flair": "FLAIR", "t1ce": "T1ce", "t1": "T1", "t2": "T2"}


class SoftDecide(brain_model.Decide):
    """Less sure of itself: a cost bias within the slider's reach makes it skip, or compute, what it is unsure of."""

    def __call__(self, inputs):
        return {name: 0.3 * array for name, array in super().__call__(inputs).items()}


def card():
    """Of the model by hand, as the chooser wants it."""
    found = SimpleNamespace(**vars(brain_model.model().card), title="By hand", metrics={})
    found.bytes_of = lambda _precision: 1000
    return found


class PanelTest(unittest.TestCase):
    """The module, entered anew in an empty scene, with the model by hand."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.model = brain_model.model()
        self.model.engine.graphs["decision"] = SoftDecide()
        self.useModel()
        slicer.util.selectModule("DynamicBrainSeg")
        self.takePanel()
        self.red = slicer.app.layoutManager().sliceWidget("Red")
        gestures.settle(20)

    def useModel(self):
        """The only one there is; everything that models need is there."""
        kind = "leanseg.slicer_bridge.environment_panel.EnvironmentPanel.isComplete"
        for patch in (
            brain_model.loaded(self.model),
            mock.patch("leanseg.list_models", return_value=[card()], create=True),
            mock.patch(kind, new_callable=mock.PropertyMock, return_value=True),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def takePanel(self):
        """Of the module as it is now; a reload makes another one."""
        self.widget = slicer.util.getModuleWidget("DynamicBrainSeg")
        self.ui, self.editor = self.widget.ui, self.widget.ui.segmentEditorWidget
        self.widget.logic._loaded.clear()
        self.selectors = {
            "flair": self.ui.flairSelector, "t1ce": self.ui.t1ceSelector, "t1": self.ui.t1Selector,
            "t2": self.ui.t2Selector,
        }  # fmt: skip

    def tearDown(self):
        slicer.mrmlScene.Clear(0)
        self.widget.logic._loaded.clear()
        gestures.settle(20)

    # Doing

    def load(self, *sequences, **options):
        """Volumes of the phantom, shown as if just loaded; waits until the panel has found them."""
        nodes = {name: brain_phantom.node(name, **options) for name in sequences or NAMES}
        slicer.util.setSliceViewerLayers(background=next(iter(nodes.values())), fit=True)
        self.assertTrue(gestures.waitFor(lambda: self.chosen() == nodes, 10), f"chosen: {self.chosen()}")
        gestures.settle(50)
        return nodes

    def choose(self, name, node):
        self.selectors[name].setCurrentNode(node)
        self.finish()

    def press(self, button):
        self.assertTrue(button.enabled, f"{button.text}: {button.toolTip}")
        gestures.click(button)

    def finish(self):
        """Wait for what has been started, and for what follows it."""
        gestures.settle(20)
        self.assertTrue(gestures.waitFor(lambda: not self.isBusy(), 60))
        gestures.settle(20)

    def isBusy(self):
        """Whether something runs, or a timer of the panel waits."""
        panel, volumes = self.widget.panel, self.widget.volumes
        timers = (
            panel._content,
            panel.runs._settling,
            panel.sequences._timer,
            panel.uncertainty._timer,
            volumes._timer,
        )
        return panel.session.isRunning or panel.timing.isRunning or any(timer.isActive() for timer in timers)

    def segment(self):
        self.press(self.ui.segmentButton)
        self.finish()

    def loadAndSegment(self, *sequences):
        nodes = self.load(*sequences)
        self.segment()
        return nodes

    def pressAndFinish(self, button):
        self.press(button)
        self.finish()

    def clickBar(self, index):
        left, right = self.widget.panel.decisions.strip.span(index)
        gestures.click(self.ui.stripLabel, ((left + right) // 2, 30))
        gestures.settle(30)

    def pick(self, comboBox, text):
        """Choose an entry with the arrow keys."""
        wanted = comboBox.findText(text)
        self.assertGreaterEqual(wanted, 0, f"{text} is not offered")
        for _step in range(comboBox.count):
            if comboBox.currentIndex != wanted:
                gestures.key(comboBox, qt.Qt.Key_Down if comboBox.currentIndex < wanted else qt.Qt.Key_Up)
        self.assertEqual(comboBox.currentIndex, wanted)
        self.finish()

    def pressKey(self, code, **modifiers):
        gestures.key(slicer.util.mainWindow(), code, **modifiers)
        self.finish()

    @contextmanager
    def slowModel(self, seconds=0.3):
        """Every batch takes its time; how many there were is counted."""
        graphs, batches = self.model.engine.graphs, []

        def slowed(graph):
            def run(inputs):
                time.sleep(seconds)
                batches.append(1)
                return graph(inputs)

            return run

        with mock.patch.dict(graphs, {name: slowed(graph) for name, graph in graphs.items()}):
            yield batches

    # Looking

    def chosen(self):
        found = {name: selector.currentNode() for name, selector in self.selectors.items()}
        return {name: node for name, node in found.items() if node is not None}

    @property
    def message(self):
        return self.ui.messageLabel.text if self.ui.messageLabel.isVisibleTo(self.ui.tumorCollapsibleButton) else ""

    @property
    def segmentation(self):
        return self.ui.outputSelector.currentNode()

    def segmentNames(self):
        segmentation = self.segmentation.GetSegmentation()
        return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]

    def mask(self, name, volumeNode):
        """(k, j, i) bool of a segment by its name."""
        segmentId = self.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segmentId, volumeNode) > 0

    def decisions(self):
        """Name of the decision by slice, as the result says that the strip shows."""
        return [one.name for one in self.widget.panel.session.result.decisions]

    def barColors(self):
        """Slice -> color at the foot of its bar."""
        gestures.settle(30)
        image, strip = self.ui.stripLabel.pixmap.toImage(), self.widget.panel.decisions.strip
        bottom = self.ui.stripLabel.height - 10  # above the line of uncertainty
        count = len(self.widget.panel.session.result.decisions)
        current = self.widget.panel.decisions.current
        return {k: image.pixelColor(strip.span(k)[0], bottom).name() for k in range(count) if k != current}

    def offset(self, name="Red"):
        return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().GetSliceOffset()

    def isShown(self, widget):
        return widget.isVisibleTo(slicer.util.mainWindow())

    def nodes(self):
        """Ids of the nodes of the scene, but for the module's own two parameter nodes."""
        scene = slicer.mrmlScene
        everything = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
        own = ("vtkMRMLScriptedModuleNode", "vtkMRMLSegmentEditorNode")
        return {node.GetID() for node in everything if node.GetClassName() not in own}


def truth(region):
    """(k, j, i) bool on the voxels of the phantom."""
    return brain_phantom.truth(region)


def volumeMl(mask):
    return np.count_nonzero(mask) * 2 * 2 * 4 / 1000
