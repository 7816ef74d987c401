"""What was asked stays in a table: to look at again, to save with the scene, to export."""

import csv
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import qt
import slicer
from TextGuidedSegLib.ask_history import MOST_IMAGES, Asked, Entry, fromText, toText, writeCsv
from TextGuidedSegLib.ask_work import answered

from leanseg.errors import OutputError
from leanseg.request import step
from Testing.slicer import gestures
from Testing.slicer.text_guided_seg.ask_test import IS_IT, WHERE, AskTest
from Testing.slicer.text_guided_seg.panel_test import MIDDLE, addImage
from Testing.slicer.text_guided_seg.test_ask import half

ROW = Asked(
    "2026-01-02T03:04:05", 'Is it "bright", or not?', "I cannot tell", False, 0.5, "yes/no", 0.9,
    (("yes", 0.5), ("=no; ä", 0.25)), ("one line",), "MRI", "Red", "slice 5", "Mass, left", "answers",
)  # fmt: skip


class TestAskHistory(AskTest):
    def asked(self):
        """Two questions about two slices."""
        node = self.load(half(True))
        self.ask(WHERE)
        self.panel.dialog.frames.select(2)
        self.ask(IS_IT)
        return node

    def testARowBringsBackAnswerSliceAndHeatMap(self):
        self.asked()
        self.assertEqual([row[0] for row in self.rows()], [WHERE, IS_IT], "the newest is the last")
        self.assertEqual(self.form.table.currentRow(), 1)
        self.check(self.form.heatCheckBox)
        self.clickRow(0)
        self.assertIn("right", self.answer)
        self.assertIn(WHERE, self.form.askedLabel.text)
        self.assertEqual(self.panel.dialog.frames.currentIndex(), MIDDLE)
        self.assertIsNotNone(self.answers.heat.node)
        self.form.table.setFocus()
        gestures.key(self.form.table, qt.Qt.Key_Down)
        self.finishAsking()
        self.assertIn(IS_IT, self.form.askedLabel.text)
        self.assertEqual(self.panel.dialog.frames.currentIndex(), 2)
        self.assertEqual(len(self.rows()), 2)

    def testOfAnImageThatHasChangedOnlyTheTextIsLeft(self):
        node = self.asked()
        self.check(self.form.heatCheckBox)
        slicer.util.arrayFromVolume(node)[:] = 5
        slicer.util.arrayFromVolumeModified(node)
        self.clickRow(0)
        self.assertIn("right", self.answer)
        self.assertIn("only the text is left", self.said)
        self.assertIsNone(self.answers.heat.node)
        self.assertFalse(self.form.stageSelector.enabled)

    def testItIsSavedWithTheScene(self):
        self.asked()
        rows, choices = self.rows(), self.choices()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            gestures.settle(50)
            self.assertEqual((self.rows(), self.answer), ([], ""))
            slicer.util.loadScene(path)
            gestures.settle(100)
        self.assertEqual(self.rows(), rows)
        self.clickRow(1)
        self.assertEqual(self.choices(), choices)
        self.assertIn("only the text is left", self.said)
        self.ask(WHERE)
        self.assertEqual(len(self.rows()), 3)

    def testAReloadOfTheModuleKeepsIt(self):
        self.asked()
        rows = self.rows()
        self.widget.onReload()
        self.takePanel()
        self.finishAsking()
        self.assertEqual(self.rows(), rows)
        self.ask(WHERE)
        self.assertIn("right", self.answer)

    def testClosingTheSceneWhileItRunsLosesNoQuestion(self):
        self.load(half(True))

        def slow(*args):
            for n in range(1000):
                step(args[-1], n, 1000, "looking at the picture")
                time.sleep(0.005)

        self.write(WHERE)
        with mock.patch("TextGuidedSegLib.ask_panel.answered", slow):
            self.press(self.form.askButton)
            gestures.settle(30)
            slicer.mrmlScene.Clear(0)
            self.finishAsking()
        self.assertIn("The scene was closed", self.said)
        self.assertEqual(self.form.questionEdit.text, WHERE)
        self.assertEqual(self.form.askButton.text, "Ask")
        self.load(half(True))
        self.press(self.form.askButton)
        self.finishAsking()
        self.assertIn("right", self.answer)

    def testAnAnswerThatComesWhileAnotherModuleIsShownIsKept(self):
        self.load(half(True))
        self.write(WHERE)
        self.press(self.form.askButton)
        slicer.util.selectModule("Data")
        self.finishAsking()
        slicer.util.selectModule("TextGuidedSeg")
        gestures.settle(50)
        self.assertIn("right", self.answer)
        self.assertEqual(len(self.rows()), 1)

    def testAnAnswerGoesWhenItsViewShowsAnotherImage(self):
        node = self.load(half(True))
        other = addImage(half(False), name="Other")
        for background, foreground in ((other, None), (other, node)):
            slicer.util.setSliceViewerLayers(background=node, foreground=None)
            self.ui.inputSelector.setCurrentNode(node)
            self.finish()
            self.ask()
            slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.5)
            self.assertIn("right", self.answer, "its image is still there")
            slicer.util.setSliceViewerLayers(background=background, foreground=foreground)
            gestures.settle(30)
            self.assertEqual((self.answer, self.form.askedLabel.text), ("", ""))
        self.assertTrue(gestures.waitFor(lambda: self.ui.inputSelector.currentNode() is other))
        self.finish()
        self.clickRow(0)
        self.assertIn(f"{WHERE} (MRI, Red, slice {MIDDLE + 1})", self.form.askedLabel.text)
        self.assertEqual(self.said, "This was asked about MRI, which Red does not show now.")

    def testAnAnswerThatComesWhenAnotherImageIsChosenIsInTheTableOnly(self):
        node = self.load(half(True))
        other = addImage(half(False), name="Other")
        changes = (
            lambda: self.ui.inputSelector.setCurrentNode(other),
            lambda: slicer.util.setSliceViewerLayers(background=other),
        )
        for number, change in enumerate(changes, start=1):
            with self.subTest(number=number):
                slicer.util.setSliceViewerLayers(background=node)
                self.ui.inputSelector.setCurrentNode(node)
                self.finish()
                self.write(WHERE)
                hasChanged = threading.Event()
                late = mock.Mock(side_effect=lambda *args, go=hasChanged: go.wait(20) and answered(*args))
                with mock.patch("TextGuidedSegLib.ask_panel.answered", late):
                    self.press(self.form.askButton)
                    change()
                    hasChanged.set()
                    self.finishAsking()
                self.assertEqual((self.answer, len(self.rows())), ("", number))
                self.assertEqual(self.said, "The answer about MRI is in the table; another image is shown by now.")

    def testOfOldQuestionsOnlyTheTextIsKept(self):
        self.asked()
        first, last = self.answers.entries
        for _number in range(MOST_IMAGES - 1):
            self.answers.add(Entry(last.asked, last.answer, last.picture))
        self.assertIsNone(first.answer)
        self.assertIsNone(first.picture)
        self.assertTrue(last.hasImage)
        self.check(self.form.heatCheckBox)
        self.clickRow(0)
        self.assertIn("right", self.answer)
        self.assertIn("only the text is left", self.said)
        self.assertIsNone(self.answers.heat.node)

    def testExport(self):
        self.assertFalse(self.form.exportButton.enabled)
        self.assertIn("names each image", self.form.exportButton.toolTip)
        self.asked()
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.object(self.answers, "askForFile", return_value=""):
                self.press(self.form.exportButton)
            self.assertEqual(self.said, "")
            self.assertEqual(list(Path(folder).iterdir()), [])
            with mock.patch.object(self.answers, "askForFile", return_value=str(Path(folder) / "asked")):
                self.press(self.form.exportButton)
            self.assertIn("asked.csv", self.said)
            with (Path(folder) / "asked.csv").open(encoding="utf-8", newline="") as file:
                first, second = csv.DictReader(file)
            self.assertEqual((first["question"], first["answer"], first["is_told"]), (WHERE, "right", "true"))
            self.assertEqual((first["slice"], second["slice"], first["view"]), ("slice 5", "slice 3", "Red"))
            self.assertEqual((first["choice_1"], first["choice_2"], first["choice_3"]), ("right", "left", ""))
            self.assertEqual(first["probability"], first["probability_1"])
            wrong = str(Path(folder) / "nowhere" / "asked.csv")
            with mock.patch.object(self.answers, "askForFile", return_value=wrong), self.assertLogs(level="ERROR"):
                self.press(self.form.exportButton)
            self.assertIn("nowhere", self.said)

    def testClear(self):
        self.asked()
        self.press(self.form.clearButton)
        self.assertEqual((self.rows(), self.answer, self.choices()), ([], "", []))
        self.assertFalse(self.form.clearButton.enabled)
        self.assertEqual(self.asking.options.history, "")

    def testTextAndBack(self):
        self.assertEqual(fromText(toText([ROW, ROW])), [ROW, ROW])
        self.assertEqual(toText([]), "")
        for text in ("", "{", "[]", "3", '{"format": 2, "asked": []}', '{"format": 1, "asked": [{}]}'):
            self.assertEqual(fromText(text), [])

    def testTheCsvHasOneHeaderAndPlainValues(self):
        with tempfile.TemporaryDirectory() as folder:
            path = writeCsv([ROW], str(Path(folder) / "a.csv"))
            with path.open(encoding="utf-8", newline="") as file:
                names, values = csv.reader(file)
            self.assertEqual(dict(zip(names, values, strict=True))["question"], ROW.question)
            self.assertEqual(values[names.index("segment")], "Mass, left")
            self.assertEqual(values[names.index("choice_2")], "=no; ä")
            with self.assertRaises(OutputError):
                writeCsv([ROW], str(Path(folder) / "nowhere" / "a.csv"))
