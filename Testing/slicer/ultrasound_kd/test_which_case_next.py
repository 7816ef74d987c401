"""Which case next: the images of a folder are ranked with the real model, loaded one by one, and the list is kept."""

import json
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import qt
import slicer

import leanseg
from leanseg.request import step
from leanseg.suggestion_state import STATE_FILE, SuggestionState
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.case_test import SHAPE, CaseTest, image


class TestFolder(CaseTest):
    def testItIsRankedAndTakenOneByOne(self):
        self.fill(4)
        (self.folder / "broken.png").write_bytes(b"no image")
        self.write("color.png", np.random.default_rng(1).integers(0, 255, (*SHAPE, 3)).astype(np.uint8))
        self.chooseFolder()
        self.form.countSpinBox.value = 2
        self.rank()
        names, ranks = self.column(1), self.column(0)
        self.assertEqual(ranks[:4], ["1", "2", "3", "4"])
        self.assertEqual(sorted(names[:4]), [f"case_{n}.png" for n in range(4)])
        for row in range(4):
            item = self.form.table.item(row, 1)
            self.assertFalse(item.icon().isNull())
            self.assertTrue(item.toolTip())
            self.assertGreater(float(self.column(2)[row]), 0)
        self.assertEqual([bool(text) for text in self.column(3)[:4]], [True, True, False, False])
        skipped = {names[row]: self.column(2)[row] for row in range(4, len(names))}
        self.assertIn("broken.png", skipped["broken.png"])
        self.assertNotIn(str(self.folder), skipped["broken.png"], "the folder is the same for all")

        self.press(self.form.nextButton)
        gestures.settle(50)
        self.assertEqual(self.shownName, Path(names[0]).stem)
        self.assertIs(self.widget.panel.shown.volume, self.ui.inputSelector.currentNode())
        self.press(self.form.nextButton)
        self.assertIn("is not done", self.said)
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")), 1, "it is not loaded twice")
        self.press(self.form.doneButton)
        self.assertEqual(self.column(4)[:4], ["✓", "", "", ""])
        self.assertEqual(self.form.doneButton.text, "Mark not done")
        self.press(self.form.nextButton)
        gestures.settle(50)
        self.assertEqual(self.shownName, Path(names[1]).stem)
        self.press(self.form.doneButton)
        self.press(self.form.nextButton)
        self.assertIn("All suggestions are done", self.said)
        done = json.loads((self.folder / STATE_FILE).read_text(encoding="utf-8"))["done"]
        self.assertEqual(sorted(done), sorted(names[:2]))
        self.rank()
        self.assertEqual(sorted(self.column(1)[:2]), sorted(names[2:4]), "what is done is left out")

    def testTheListIsFoundAgainWithoutComputing(self):
        """In the folder, by a scene that knows nothing; and by the scene, which names the folder."""
        self.fill(3, "nrrd")
        self.chooseFolder()
        self.rank()
        self.press(self.form.nextButton)
        self.press(self.form.doneButton)
        before = [self.column(n) for n in range(5)]
        with tempfile.TemporaryDirectory() as other, mock.patch("leanseg.suggest_cases", side_effect=AssertionError):
            scene = str(Path(other) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(scene))
            slicer.mrmlScene.Clear(0)
            gestures.settle(50)
            self.assertEqual((self.form.table.rowCount, self.form.folderEdit.text), (0, ""))
            self.chooseFolder()
            self.assertEqual([self.column(n) for n in range(5)], before)
            self.assertTrue(gestures.waitFor(lambda: not self.form.table.item(2, 1).icon().isNull()))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(scene)
            gestures.settle(50)
            self.assertEqual([self.column(n) for n in range(5)], before)
        self.press(self.form.nextButton)
        self.assertEqual(f"{self.shownName}.nrrd", before[1][1])

    def testWhatSomebodyElseHasMarkedInTheFolderCounts(self):
        self.fill(2)
        self.chooseFolder()
        self.rank()
        first, second = self.column(1)
        SuggestionState.load(self.folder / STATE_FILE).mark_done(first).save(self.folder / STATE_FILE)
        self.press(self.form.nextButton)
        self.assertEqual(self.shownName, Path(second).stem)
        self.assertEqual(self.column(4), ["✓", ""])
        suggest = leanseg.suggest_cases

        def meanwhile(*images, **options):
            SuggestionState.load(self.folder / STATE_FILE).mark_done("other.png").save(self.folder / STATE_FILE)
            return suggest(*images, **options)

        with mock.patch("leanseg.suggest_cases", meanwhile):
            self.rank()
        self.assertEqual(SuggestionState.load(self.folder / STATE_FILE).done, (first, "other.png"))

    def testAMarkCanBeTakenBackAlsoAfterTheNextRanking(self):
        self.fill(2)
        self.chooseFolder()
        self.rank()
        self.press(self.form.nextButton)
        self.press(self.form.doneButton)
        self.rank()
        self.assertEqual(len(self.column(1)), 1)
        self.assertIn("Done before, and left out: 1.", self.form.summaryLabel.text)
        self.form.table.clearSelection()
        gestures.settle(20)
        self.assertIn(f"{self.shownName}.png", self.form.doneButton.toolTip)
        self.assertEqual(self.form.doneButton.text, "Mark not done")
        self.press(self.form.doneButton)
        self.rank()
        self.assertEqual(len(self.column(1)), 2)

    def testAFolderThatCannotBeWrittenLosesNothing(self):
        self.fill(2)
        (self.folder / STATE_FILE).mkdir()
        self.chooseFolder()
        with self.assertLogs(level="ERROR"):
            self.rank()
        self.assertIn("cannot be written", self.said)
        self.assertIn("the scene keeps the list", self.said)
        self.assertNotIn("\n", self.said)
        self.form.table.selectRow(1)
        self.press(self.form.doneButton)
        before = [self.column(n) for n in range(5)]
        self.assertEqual(before[4], ["", "✓"])
        with tempfile.TemporaryDirectory() as other:
            scene = str(Path(other) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(scene))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(scene)
            gestures.settle(50)
        self.assertEqual([self.column(n) for n in range(5)], before)

    def testOneImageDuplicatesAndOtherSizes(self):
        self.fill(1)
        self.chooseFolder()
        self.rank()
        self.assertEqual(self.column(1), ["case_0.png"])
        self.write("same.png", image(0)[0])
        self.write("wide.png", image(1, (48, 128))[0])
        self.rank()
        self.assertEqual(sorted(self.column(1)), ["case_0.png", "same.png", "wide.png"])
        suggested = [name for name, share in zip(self.column(1), self.column(3), strict=True) if share]
        self.assertEqual(len({"case_0.png", "same.png"} & set(suggested)), 1, "one of two that are the same")

    def testWhatCannotBeRankedIsSaidInOneLine(self):
        self.refuses("No folder is chosen")
        with self.assertLogs(level="INFO"):
            self.chooseFolder(self.folder / "gone")
            self.rank()
        self.assertIn("There is no folder", self.said)
        self.chooseFolder()
        self.refuses("holds no image")
        (self.folder / "broken.png").write_bytes(b"no image")
        self.refuses("broken.png")
        (self.folder / "broken.png").unlink()
        self.fill(1)
        self.rank()
        self.press(self.form.nextButton)
        self.press(self.form.doneButton)
        self.refuses("annotated")
        self.form.modelList.setCurrentRow(0)
        gestures.key(self.form.modelList, qt.Qt.Key_Space)
        self.refuses("No model is checked")

    def testADamagedListIsSaidAndLeftAlone(self):
        self.fill(1)
        (self.folder / STATE_FILE).write_text("{", encoding="utf-8")
        with self.assertLogs(level="ERROR"):
            self.chooseFolder()
        self.assertIn(STATE_FILE, self.said)
        self.refuses(STATE_FILE)
        self.assertEqual((self.folder / STATE_FILE).read_text(encoding="utf-8"), "{")
        (self.folder / STATE_FILE).unlink()
        self.rank()
        self.assertEqual(self.column(1), ["case_0.png"])

    def testCancelLeavesTheListAsItWas(self):
        self.fill(2)
        self.chooseFolder()
        self.rank()
        before = [self.column(n) for n in range(5)]

        def slow(*_args, progress, **_options):
            for n in range(1000):
                step(progress, n, 1000, f"{self.folder}/case_{n}.png")
                time.sleep(0.005)

        with mock.patch("leanseg.suggest_cases", slow):
            self.press(self.form.rankButton)
            self.assertTrue(gestures.waitFor(lambda: self.form.progressBar.value > 2))
            self.assertRegex(self.form.progressBar.format, r"^case_\d+.png$")
            self.assertFalse(self.form.nextButton.enabled)
            self.assertEqual(self.form.rankButton.text, "Cancel")
            self.rank()
        self.assertIn("Cancelled", self.said)
        self.assertEqual([self.column(n) for n in range(5)], before)
