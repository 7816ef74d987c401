"""What the scenarios of "Which case next?" have in common: a folder, the section, and what a person sees of it."""

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from leanseg.phantom import ultrasound_phantom
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.panel_test import PanelTest

SHAPE = (64, 80)


def image(seed, shape=SHAPE, frames=1):
    """(k, j, i) uint8"""
    return ultrasound_phantom("malignant" if seed % 2 else "benign", seed, frames, shape).image.array[0]


class CaseTest(PanelTest):
    def setUp(self):
        super().setUp()
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.cases = self.widget.cases
        self.form = self.cases.form
        self.ui.caseSuggestionsCollapsibleButton.collapsed = False

    def write(self, name, array):
        import SimpleITK as sitk

        path = self.folder / name
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=array.ndim == 3 and array.shape[2] == 3), str(path))
        return path

    def fill(self, count, ending="png"):
        for seed in range(count):
            self.write(f"case_{seed}.{ending}", image(seed)[0])

    def chooseFolder(self, folder=None):
        with mock.patch.object(self.cases.inputs, "askForFolder", return_value=str(folder or self.folder)):
            self.press(self.form.folderButton)

    def rank(self):
        self.press(self.form.rankButton)
        self.assertTrue(gestures.waitFor(lambda: self.form.rankButton.text == "Rank", 30))
        gestures.settle(30)

    def column(self, number):
        return [self.form.table.item(row, number).text() for row in range(self.form.table.rowCount)]

    @property
    def said(self):
        return self.form.messageLabel.text

    @property
    def shownName(self):
        node = self.ui.inputSelector.currentNode()
        return "" if node is None else node.GetName()

    def refuses(self, text):
        """Rank says one line with this text."""
        self.rank()
        self.assertIn(text, self.said)
        self.assertNotIn("\n", self.said)
        self.assertEqual(self.form.rankButton.text, "Rank")
