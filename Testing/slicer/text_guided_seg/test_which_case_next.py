"""Which case next: a model without text ranks the images, and the one that is loaded is what the text is about."""

import unittest

import slicer

from leanseg.phantom import ultrasound_phantom
from leanseg.slicer_bridge.nodes import scalarVolumeNode
from Testing.slicer import gestures


class TestWhichCaseNext(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("TextGuidedSeg")
        self.widget = slicer.util.getModuleWidget("TextGuidedSeg")
        self.form = self.widget.cases.form

    def tearDown(self):
        slicer.mrmlScene.Clear(0)
        gestures.settle(20)

    def testItIsRankedByAModelWithoutTextAndThatIsSaid(self):
        names = [self.form.modelList.item(n).text() for n in range(self.form.modelList.count)]
        self.assertEqual(names, ["T2KD Attention U-Net (t2kd_busi)"])
        labels = [one.text for one in slicer.util.findChildren(self.form.widget, className="QLabel")]
        self.assertTrue(any("models that need no text" in text for text in labels))
        nodes = []
        for seed in (1, 2):
            volume = ultrasound_phantom("malignant", seed, shape_ji=(64, 80)).image
            nodes.append(scalarVolumeNode(f"case {seed}", volume.array[0], volume.geometry))
        self.form.sourceSelector.setCurrentIndex(1)
        gestures.click(self.form.rankButton)
        self.assertTrue(gestures.waitFor(lambda: self.form.rankButton.text == "Rank", 30))
        self.assertIn("of t2kd_busi", self.form.summaryLabel.text)
        gestures.click(self.form.nextButton)
        gestures.settle(50)
        first = self.form.table.item(0, 1).text()
        self.assertEqual(self.widget.ui.inputSelector.currentNode().GetName(), first)
        self.assertEqual(self.widget.panel.volume.GetName(), first)
        gestures.click(self.form.doneButton)
        gestures.click(self.form.nextButton)
        gestures.settle(50)
        self.assertNotEqual(self.widget.panel.volume.GetName(), first)
        self.assertIn(self.widget.panel.volume, nodes)
