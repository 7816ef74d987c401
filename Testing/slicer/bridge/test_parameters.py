"""Parameters in the real scene: types, defaults, save and load, closing, observers."""

import logging
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import slicer

from leanseg.errors import UnknownNameError
from leanseg.slicer_bridge.parameters import Parameters

MODULE = "LeanSegTestModule"
DEFAULTS = {"threshold": 0.5, "frames": 4, "model": "t2kd_busi", "largestOnly": True}


class ParametersTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.parameters = Parameters(MODULE, DEFAULTS)
        self.addCleanup(self.parameters.unobserve)
        self.calls = 0

    def count(self):
        self.calls += 1

    def savedAndLoaded(self, extension=".mrb"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"scene{extension}"
            self.assertTrue(slicer.util.saveScene(str(path)))
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(str(path))
        return Parameters(MODULE, DEFAULTS)


class Values(ParametersTest):
    def test_what_was_never_set_is_the_default(self):
        keys = ("threshold", "frames", "model", "largestOnly")
        self.assertEqual([0.5, 4, "t2kd_busi", True], [self.parameters.get(key) for key in keys])

    def test_values_come_back_with_their_types(self):
        for key, value in [("threshold", 0.1), ("frames", -3), ("model", "other"), ("largestOnly", False)]:
            with self.subTest(key):
                self.parameters.set(key, value)
                self.assertEqual(value, self.parameters.get(key))
                self.assertIs(type(value), type(self.parameters.get(key)))

    def test_a_whole_number_can_be_a_float(self):
        self.parameters.set("threshold", 1)
        self.assertEqual("1.0", repr(self.parameters.get("threshold")))

    def test_an_empty_text_is_a_value(self):
        self.parameters.set("model", "")
        self.assertEqual("", self.parameters.get("model"))

    def test_values_of_another_type_are_refused(self):
        wrong = [("threshold", "0.5"), ("threshold", True), ("frames", 0.5), ("frames", True), ("largestOnly", 1)]
        for key, value in [*wrong, ("model", None)]:
            with self.subTest(key=key, value=value), self.assertRaises(TypeError):
                self.parameters.set(key, value)
        self.assertEqual((), tuple(self.parameters.parameterNode.GetParameterNames()))

    def test_a_float_must_be_finite(self):
        for value in (float("nan"), float("inf")):
            with self.subTest(value), self.assertRaises(ValueError):
                self.parameters.set("threshold", value)

    def test_an_unknown_name_suggests_the_nearest(self):
        for use in (lambda: self.parameters.get("frame"), lambda: self.parameters.set("frame", 0.5)):
            with self.assertRaisesRegex(UnknownNameError, "Did you mean 'frames'"):
                use()

    def test_a_text_that_makes_no_sense_is_the_default_and_one_log_line(self):
        node = self.parameters.parameterNode
        for key, text in [("threshold", "half"), ("threshold", "nan"), ("frames", "4.5"), ("largestOnly", "maybe")]:
            with self.subTest(key=key, text=text):
                node.SetParameter(key, text)
                with self.assertLogs(level="WARNING") as logs:
                    self.assertEqual(DEFAULTS[key], self.parameters.get(key))
                    self.assertEqual(DEFAULTS[key], self.parameters.get(key))
                self.assertEqual(1, len(logs.records))
                self.assertIn(key, logs.output[0])
                self.assertIn(text, logs.output[0])

    def test_an_empty_number_is_the_default(self):
        self.parameters.parameterNode.SetParameter("threshold", "")
        with mock.patch.object(logging, "warning") as warned:
            self.assertEqual(0.5, self.parameters.get("threshold"))
        warned.assert_called_once()


class References(ParametersTest):
    def test_a_reference_is_none_until_it_is_set_and_after_it_is_ended(self):
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        self.assertIsNone(self.parameters.node("InputVolume"))
        self.parameters.setNode("InputVolume", volume)
        self.assertEqual(volume, self.parameters.node("InputVolume"))
        self.parameters.setNode("InputVolume", None)
        self.assertIsNone(self.parameters.node("InputVolume"))

    def test_a_reference_to_a_removed_node_is_none(self):
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
        self.parameters.setNode("InputVolume", volume)
        self.parameters.observe(self.count)
        slicer.mrmlScene.RemoveNode(volume)
        self.assertIsNone(self.parameters.node("InputVolume"))
        self.assertEqual(1, self.calls)


class TheScene(ParametersTest):
    def test_two_users_share_one_node_which_is_that_of_the_module(self):
        self.parameters.set("frames", 7)
        self.assertEqual(7, Parameters(MODULE, DEFAULTS).get("frames"))
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        mine = [node for node in nodes if node.GetAttribute("ModuleName") == MODULE]
        self.assertEqual(1, len(mine))
        self.assertEqual(MODULE, mine[0].GetSingletonTag())
        self.assertEqual(MODULE, mine[0].GetModuleName())

    def test_modules_do_not_share_values(self):
        other = Parameters("LeanSegOtherModule", DEFAULTS)
        self.parameters.set("frames", 7)
        self.assertEqual(4, other.get("frames"))

    def test_values_and_references_survive_saving_and_loading(self):
        values = {"threshold": 0.1 + 0.2, "frames": 12, "model": 'a; b: c, ä % "x" <y>', "largestOnly": False}
        for extension in (".mrb", ".mrml"):
            with self.subTest(extension):
                slicer.mrmlScene.Clear(0)
                volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "Findings")
                self.parameters.setNode("InputVolume", volume)
                for key, value in values.items():
                    self.parameters.set(key, value)
                loaded = self.savedAndLoaded(extension)
                self.assertEqual(values, {key: loaded.get(key) for key in values})
                self.assertEqual("Findings", loaded.node("InputVolume").GetName())

    def test_after_a_scene_was_closed_everything_is_the_default_and_can_be_set(self):
        self.parameters.set("frames", 12)
        slicer.mrmlScene.Clear(0)
        self.assertEqual(4, self.parameters.get("frames"))
        self.parameters.set("frames", 13)
        self.assertEqual(13, self.parameters.get("frames"))


class Observers(ParametersTest):
    def test_a_change_is_told_and_the_same_value_again_is_not(self):
        self.parameters.observe(self.count)
        self.parameters.set("frames", 5)
        self.assertEqual(1, self.calls)
        self.parameters.set("frames", 5)
        self.assertEqual(1, self.calls)

    def test_the_last_callback_counts_and_none_after_unobserve(self):
        self.parameters.observe(lambda: self.fail("replaced"))
        self.parameters.observe(self.count)
        self.parameters.set("frames", 5)
        self.parameters.unobserve()
        self.parameters.set("frames", 6)
        slicer.mrmlScene.Clear(0)
        self.assertEqual(1, self.calls)

    def test_closing_a_scene_is_told_once_and_later_changes_are_too(self):
        self.parameters.set("frames", 5)
        self.parameters.observe(self.count)
        self.calls = 0
        slicer.mrmlScene.Clear(0)
        self.assertEqual(1, self.calls)
        self.parameters.set("frames", 5)
        self.assertEqual(2, self.calls)

    def test_loading_a_scene_is_told_when_its_values_are_there(self):
        self.parameters.set("frames", 9)
        seen = []
        self.parameters.observe(lambda: seen.append(self.parameters.get("frames")))
        self.savedAndLoaded()
        self.assertEqual(9, seen[-1])
        seen.clear()
        self.parameters.set("frames", 10)
        self.assertEqual([10], seen)


if __name__ == "__main__":
    unittest.main()
