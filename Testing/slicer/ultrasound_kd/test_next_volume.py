"""Which case next: the volumes of the scene, and the models that rank."""

import json
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import qt
import slicer

from leanseg.volume import VolumeGeometry
from leanseg.weights.store import SHIPPED_MODELS
from Testing.slicer import gestures
from Testing.slicer.ultrasound_kd.case_test import SHAPE, CaseTest, image
from Testing.slicer.ultrasound_kd.panel_test import STILL_IMAGE


class TestVolumes(CaseTest):
    def setUp(self):
        super().setUp()
        self.sample = self.loadSample(STILL_IMAGE)
        self.deep = self.add("deep", np.stack([image(3)[0], np.zeros(SHAPE, np.uint8), image(3)[0]]))
        self.pick(self.form.sourceSelector, "Loaded volumes")

    def add(self, name, array):
        from leanseg.slicer_bridge.nodes import scalarVolumeNode

        return scalarVolumeNode(name, array, VolumeGeometry(array.shape, np.diag([-1.0, -1.0, 3.0, 1.0])))

    def testThoseOfTheSceneAreRankedAndTheirSliceIsShown(self):
        self.rank()
        self.assertEqual(sorted(self.column(1)), [STILL_IMAGE, "deep"])
        self.form.table.setCurrentCell(self.column(1).index("deep"), 1)
        gestures.key(self.form.table, qt.Qt.Key_Return)
        gestures.settle(50)
        self.assertEqual(self.shownName, "deep")
        self.assertEqual([one.slice_k for one in self.cases.inputs.pool.state.ranking if one.rank == 1], [1])
        self.assertEqual(self.widget.panel.session.frames.currentIndex(), 1)
        self.choose(self.sample)
        self.assertIn(STILL_IMAGE, self.form.doneButton.toolTip, "another image is meant")
        self.choose(self.deep)
        self.assertIn("deep", self.form.doneButton.toolTip)
        self.press(self.form.doneButton)
        self.rank()
        self.assertEqual(self.column(1), [STILL_IMAGE])

    def testTheSceneKeepsTheList(self):
        self.rank()
        self.form.table.selectRow(self.column(1).index("deep"))
        self.press(self.form.doneButton)
        before = [self.column(n) for n in range(5)]
        with tempfile.TemporaryDirectory() as other, mock.patch("leanseg.suggest_cases", side_effect=AssertionError):
            scene = str(Path(other) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(scene))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(scene)
            gestures.settle(50)
        self.assertEqual([self.column(n) for n in range(5)], before)
        self.assertFalse(self.form.table.item(0, 1).icon().isNull())

    def testAVolumeThatIsRemovedIsSaid(self):
        self.rank()
        slicer.mrmlScene.RemoveNode(self.deep)
        self.form.table.setCurrentCell(self.column(1).index("deep"), 1)
        with self.assertLogs(level="ERROR"):
            gestures.key(self.form.table, qt.Qt.Key_Return)
        self.assertIn("removed from the scene", self.said)

    def testASceneWithoutImagesIsSaid(self):
        slicer.mrmlScene.Clear(0)
        self.pick(self.form.sourceSelector, "Loaded volumes")
        self.refuses("No loaded volume is left")


class TestModels(CaseTest):
    def testSeveralModelsAreAnEnsembleAndAFolderOfTheUserWorks(self):
        self.fill(2)
        mine = self.folder / "mine"
        shutil.copytree(SHIPPED_MODELS / "t2kd_busi", mine)
        card = json.loads((mine / "card.json").read_text(encoding="utf-8"))
        (mine / "card.json").write_text(json.dumps({**card, "id": "mine"}), encoding="utf-8")
        self.chooseFolder()
        with self.assertLogs(level="ERROR"):
            self.addModel(self.folder)
        self.assertIn("card.json", self.said)
        with self.assertLogs(level="ERROR"):
            self.addModel(SHIPPED_MODELS / "text_bcs")
        self.assertIn("text_bcs cannot rank images", self.said)
        self.addModel(mine)
        self.rank()
        self.assertIn("2 images ranked by ensemble standard deviation of t2kd_busi, mine.", self.summary)
        self.form.modelList.setCurrentRow(0)
        gestures.key(self.form.modelList, qt.Qt.Key_Space)
        self.rank()
        self.assertIn("2 images ranked by entropy of mine.", self.summary)
        self.widget.exit()
        self.widget.enter()
        items = [self.form.modelList.item(n) for n in range(self.form.modelList.count)]
        checked = {item.text(): item.checkState() == qt.Qt.Checked for item in items}
        self.assertEqual(checked, {"T2KD Attention U-Net (t2kd_busi)": False, "mine": True})

    def addModel(self, folder):
        with mock.patch.object(self.cases.inputs, "askForFolder", return_value=str(folder)):
            self.press(self.form.addModelButton)

    @property
    def summary(self):
        return self.form.summaryLabel.text
