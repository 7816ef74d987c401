"""What is found of packages and models, and what the diagnostics say."""

import json
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy
import slicer

from leanseg import __version__
from leanseg.slicer_bridge.environment import Requirement, canSegment, diagnostics, examinePackage, requirements
from leanseg.weights.store import SHIPPED_MODELS
from Testing.slicer.bridge.openvino_files import FILES, INFO, RECORD, VERSION, sitePackages, write

MODEL = "t2kd_busi"


class Packages(unittest.TestCase):
    def setUp(self):
        site = sitePackages()
        self.folder = site.__enter__()
        self.addCleanup(site.__exit__, None, None, None)

    def install(self, without=(), **changed):
        files = FILES | {f"{INFO}/RECORD": RECORD}
        write(self.folder, {name: changed.get(name, text) for name, text in files.items() if name not in without})

    def openvino(self):
        return requirements()[0]

    def assertBroken(self):
        found = self.openvino()
        self.assertEqual(("openvino", "broken"), (found.name, found.state))
        self.assertIn("install it again", found.purpose)

    def test_nothing_there_is_missing(self):
        self.assertEqual(Requirement("openvino", "missing", "", "runs the models"), self.openvino())

    def test_a_complete_installation_is_ok_and_is_not_imported(self):
        self.install()
        self.assertEqual(Requirement("openvino", "ok", VERSION, "runs the models"), self.openvino())
        self.assertNotIn("openvino", sys.modules)

    def test_a_package_without_metadata_is_broken(self):
        self.install(without=[name for name in (*FILES, f"{INFO}/RECORD") if name.startswith(INFO)])
        self.assertBroken()

    def test_metadata_without_a_package_is_broken(self):
        self.install(without=[name for name in FILES if name.startswith("openvino/")])
        self.assertBroken()

    def test_an_installation_that_stopped_before_its_record_is_broken(self):
        self.install(without=[f"{INFO}/RECORD"])
        self.assertBroken()

    def test_an_installation_that_stopped_within_the_metadata_is_broken(self):
        self.install(without=[f"{INFO}/RECORD", f"{INFO}/METADATA"])
        self.assertBroken()

    def test_a_file_that_is_gone_is_noticed(self):
        self.install(without=["openvino/libs/runtime.bin"])
        self.assertBroken()

    def test_a_file_that_was_cut_short_is_noticed(self):
        self.install(**{"openvino/libs/runtime.bin": "x" * 4999})
        self.assertBroken()

    def test_a_record_that_was_cut_short_is_noticed(self):
        self.install(**{f"{INFO}/RECORD": RECORD[: RECORD.index("runtime.bin")]})
        self.assertBroken()

    def test_a_folder_that_was_left_behind_is_not_a_package(self):
        write(self.folder, {"openvino/__pycache__/left.pyc": ""})
        self.assertEqual("missing", self.openvino().state)

    def test_onnx_runtime_is_listed_only_where_it_is(self):
        self.assertNotIn("onnxruntime", [one.name for one in requirements()])
        info = "onnxruntime-1.0.dist-info"
        record = f"onnxruntime/__init__.py,,1\n{info}/RECORD,,\n"
        metadata = "Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.0\n"
        files = {"onnxruntime/__init__.py": "\n", f"{info}/RECORD": record, f"{info}/METADATA": metadata}
        write(self.folder, files)
        found = {one.name: one for one in requirements()}["onnxruntime"]
        self.assertEqual(("ok", "1.0"), (found.state, found.version))

    def test_the_package_that_reports_usage_is_named_with_the_way_to_remove_it(self):
        self.assertNotIn("openvino-telemetry", [one.name for one in requirements()])
        write(self.folder, {"openvino_telemetry/__init__.py": ""})
        found = {one.name: one for one in requirements()}["openvino-telemetry"]
        self.assertEqual("broken", found.state)
        self.assertIn('slicer.util.pip_uninstall("openvino-telemetry")', found.purpose)


class WhatComesWithSlicer(unittest.TestCase):
    def test_numpy_simpleitk_and_pydicom_are_there(self):
        found = {one.name: one for one in requirements()}
        self.assertEqual(["ok"] * 3, [found[name].state for name in ("numpy", "SimpleITK", "pydicom")])
        self.assertEqual(numpy.__version__, found["numpy"].version)

    def test_a_package_of_slicer_needs_no_metadata(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(sys, "path", [folder, *sys.path]):
            write(folder, {"leanseg_test_package.py": ""})
            self.assertEqual("ok", examinePackage("leanseg_test_package", comesWithSlicer=True).state)
            self.assertEqual("broken", examinePackage("leanseg_test_package").state)


class Models(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name) / "models of ann_example"
        self.folder.mkdir()
        environment = mock.patch.dict(os.environ, {"LEANSEG_MODELS": str(self.folder)})
        environment.start()
        self.addCleanup(environment.stop)

    def models(self):
        return [one for one in requirements() if one.name.startswith("model")]

    def test_the_shipped_model_is_there_and_whole(self):
        self.assertIn(Requirement(f"model {MODEL}", "ok", "fp32, int8", "", "slicewise"), self.models())

    def test_a_model_of_several_graphs_says_its_precisions(self):
        shutil.copytree(SHIPPED_MODELS / MODEL, self.folder / MODEL)
        path = self.folder / MODEL / "card.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card["graphs"] = {f"encoder_{precision}": graph for precision, graph in card["graphs"].items()}
        path.write_text(json.dumps(card), encoding="utf-8")
        self.assertIn(Requirement(f"model {MODEL}", "ok", "fp32, int8", "", "slicewise"), self.models())

    def test_a_damaged_model_is_broken_and_says_what_is_damaged(self):
        self._damagedCopy()
        found = {one.name: one for one in self.models()}[f"model {MODEL}"]
        self.assertEqual("broken", found.state)
        self.assertIn(f"{MODEL}_fp32.onnx is damaged", found.purpose)

    def test_no_model_at_all_is_missing_and_says_what_to_do(self):
        with mock.patch("leanseg.weights.store.SHIPPED_MODELS", self.folder):
            (found,) = self.models()
        self.assertEqual(("models", "missing"), (found.name, found.state))
        self.assertIn("LEANSEG_MODELS", found.purpose)

    def test_the_diagnostics_name_no_folder(self):
        self._damagedCopy()
        with mock.patch.object(Path, "home", return_value=self.folder.parent):
            text = diagnostics()
        self.assertIn(f"model {MODEL} : broken", text)
        self.assertIn("is damaged", text)
        for private in ("ann_example", str(self.folder.parent), str(SHIPPED_MODELS.parents[1])):
            self.assertNotIn(private, text)

    def _damagedCopy(self):
        shutil.copytree(SHIPPED_MODELS / MODEL, self.folder / MODEL)
        graph = self.folder / MODEL / f"{MODEL}_fp32.onnx"
        graph.write_bytes(graph.read_bytes()[:-1])


class Diagnostics(unittest.TestCase):
    def test_they_name_the_versions_and_every_requirement(self):
        text = diagnostics()
        python = ".".join(str(part) for part in sys.version_info[:3])
        for fact in (f"LeanSeg {__version__}", f"Slicer {slicer.app.applicationVersion},", f"Python {python}"):
            self.assertIn(fact, text)
        for one in requirements():
            self.assertIn(f"\n{one.name} {one.version}: {one.state}", text)

    def test_they_say_whether_there_is_a_proxy_but_not_which(self):
        with mock.patch.dict(os.environ, {"HTTPS_PROXY": "http://ann:secret@proxy.example"}):
            text = diagnostics()
        self.assertIn("proxy set", text)
        self.assertNotIn("secret", text)


class CanSegment(unittest.TestCase):
    def test_a_runtime_the_packages_and_a_model_are_needed(self):
        cases = [
            ({}, True),
            ({"openvino": "missing"}, False),
            ({"openvino": "broken"}, False),
            ({"openvino": "missing", "onnxruntime": "ok"}, True),
            ({"openvino": "broken", "onnxruntime": "ok"}, False),
            ({"numpy": "broken"}, False),
            ({"SimpleITK": "missing"}, False),
            ({"pydicom": "missing"}, True),  # the images are in the scene already
            ({"openvino-telemetry": "broken"}, True),
            ({"model a": "broken"}, False),
            ({"model a": "broken", "model b": "ok"}, True),
        ]
        fine = dict.fromkeys(("openvino", "numpy", "SimpleITK", "pydicom", "model a"), "ok")
        for changes, expected in cases:
            with self.subTest(changes):
                found = [self.requirement(name, state) for name, state in (fine | changes).items()]
                self.assertEqual(expected, canSegment(found, "slicewise"))
                self.assertFalse(canSegment(found, "dynamic_slicewise"), "these models are for another module")

    def requirement(self, name, state):
        return Requirement(name, state, "", "", "slicewise" if name.startswith("model") else "")


if __name__ == "__main__":
    unittest.main()
