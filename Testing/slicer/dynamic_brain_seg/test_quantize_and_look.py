"""Quantize and look at a brain: two models of one system, on the voxels of the reference."""

from types import SimpleNamespace
from unittest import mock

import numpy as np

import leanseg
from Testing.slicer import gestures
from Testing.slicer.dynamic_brain_seg import brain_model
from Testing.slicer.dynamic_brain_seg.panel_test import PanelTest, card


class Generous(brain_model.Segmenter):
    """Takes all of the edema for core."""

    def __call__(self, inputs):
        results = super().__call__(inputs)
        results["probabilities"][:, 1] = results["probabilities"][:, 0]
        return results


class TestQuantizeAndLook(PanelTest):
    def setUp(self):
        super().setUp()
        self.section = self.widget.precisions
        self.form = self.section.form
        self.ui.precisionsCollapsibleButton.collapsed = False
        self.addCleanup(self.section.forget)

    def testAModelAloneCannotBeComparedAndThatIsSaid(self):
        self.assertIn("by_hand has one precision", self.form.messageLabel.text)
        self.assertFalse(self.form.measureButton.enabled)

    def testTheVoxelsOfTheReferenceThatDifferAreCounted(self):
        other = brain_model.model()
        other.engine.graphs["whole"] = Generous()
        models = {"by_hand": self.model, "other": other}
        for (name, model), dice in zip(models.items(), (0.85, 0.875), strict=True):
            folds = {"cross_validation": {"precision": "fp32", "dice_WT": {"mean": dice}}}
            vars(model.card).update(id=name, system="by_hand", metrics=folds, bytes_of=lambda _precision: 1000)
        cards = [SimpleNamespace(**{**vars(card()), "id": name, "system": "by_hand"}) for name in models]
        with (
            mock.patch.object(leanseg, "load_engine", lambda name, precision: models[name]),
            mock.patch("leanseg.list_models", return_value=cards),
            mock.patch("leanseg.slicer_bridge.precision_subject.REPEATS", 1),
            mock.patch("leanseg.slicer_bridge.loaded_models.cardText", lambda name: name),
        ):
            self.widget.exit()
            self.widget.enter()
            self.load()
            self.assertEqual(self.form.otherSelector.currentText, "other, fp32")
            gestures.click(self.form.measureButton)
            self.assertTrue(gestures.waitFor(lambda: self.form.measureButton.text == "Measure and look", 30))
            gestures.settle(50)
        compared = self.section._compared
        self.assertEqual(self.form.messageLabel.text, "")
        differs = int(np.count_nonzero(compared.disagreement))
        self.assertGreater(differs, 100)
        self.assertIn(f"{differs:,} of {compared.disagreement.size:,} voxels differ", self.form.differenceLabel.text)
        self.assertIn("both, but not the same", self.form.differenceLabel.text)
        table = self.form.table
        self.assertEqual(table.verticalHeaderItem(2).text(), "Cross-validation Dice, whole tumor")
        self.assertEqual([table.item(2, n).text() for n in range(3)], ["0.850", "0.875", "+0.025"])
        [node] = self.section._overlay.nodes
        self.assertTrue(node.GetDisplayNode().GetVisibility())
