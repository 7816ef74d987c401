"""Testing/slicer/run_in_slicer.py, with the host in the place of Slicer."""

import importlib.util
import sys
import unittest
from pathlib import Path

import pytest
import slicer

SCRIPT = Path(__file__).resolve().parents[1] / "slicer" / "run_in_slicer.py"
TEST = "import unittest\n{}\nclass A(unittest.TestCase):\n    def test_a(self):\n        {}\n"


def _script():
    spec = importlib.util.spec_from_file_location("run_in_slicer", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The script as a module, that takes a temporary folder for the repository; no module of the extension is in it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    script = _script()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return script


@pytest.mark.parametrize(
    ("name", "top", "body", "code", "printed"),
    [
        ("passes", "", "pass", 0, "1 tests: 0 failures, 0 errors, 0 skipped"),
        ("fails", "", "self.assertEqual(1, 2)", 1, "1 tests: 1 failures, 0 errors, 0 skipped"),
        ("raises", "", "1 / 0", 1, "1 tests: 0 failures, 1 errors, 0 skipped"),
        ("skips", "", "self.skipTest('no model')", 0, "SKIPPED test_a (test_case_skips.A.test_a): no model"),
        ("slot", "", "import qt; qt.QTimer.singleShot(0, lambda: 1 / 0)", 1, "ZeroDivisionError"),
        ("broken", "import no_such_package", "pass", 1, "No module named 'no_such_package'"),
    ],
)
def test_exit_code_and_summary(runner, tmp_path, capsys, name, top, body, code, printed):
    (tmp_path / f"test_case_{name}.py").write_text(TEST.format(top, body))
    assert runner.run(tmp_path) == code
    assert printed in capsys.readouterr().out


def test_every_test_starts_in_an_empty_scene(runner, tmp_path):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "left over")
    body = "import slicer; self.assertIsNone(slicer.mrmlScene.GetFirstNodeByName('left over'))"
    (tmp_path / "test_case_scene.py").write_text(TEST.format("", body))
    assert runner.run(tmp_path) == 0


def test_nothing_to_run_is_no_success(runner, tmp_path, capsys):
    assert runner.run(tmp_path) == 2
    assert "No test below" in capsys.readouterr().out


def test_a_file_that_is_not_found_is_named(runner, tmp_path, capsys):
    (tmp_path / "test_case_found.py").write_text(TEST.format("", "pass"))
    (tmp_path / "no_package").mkdir()
    (tmp_path / "no_package" / "test_case_lost.py").write_text(TEST.format("", "pass"))
    (tmp_path / "test_case_empty.py").write_text("import unittest\n")
    assert runner.run(tmp_path) == 2
    assert "No test is found in: no_package.test_case_lost, test_case_empty" in capsys.readouterr().out


def test_a_module_that_is_not_loaded_is_named(runner, tmp_path, capsys, monkeypatch):
    import slicer

    monkeypatch.delattr(
        slicer.modules, "textguidedseg", raising=False
    )  # another test of this process may have loaded it
    (tmp_path / "TextGuidedSeg").mkdir()
    (tmp_path / "TextGuidedSeg" / "TextGuidedSeg.py").write_text("")
    assert runner.run(tmp_path) == 2
    assert f"--additional-module-paths {tmp_path / 'TextGuidedSeg'}" in capsys.readouterr().out


@pytest.mark.parametrize(("result", "code"), [(1, 1), (0, 0), (RuntimeError("broken"), 2)])
def test_slicer_exits_with_the_code_whatever_happens(runner, monkeypatch, result, code):
    def run(folder, *pattern):
        if isinstance(result, Exception):
            raise result
        return result

    codes = []
    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["run_in_slicer.py"])
    runner.main()
    assert codes == [code]


def test_no_test_of_the_repository_stays_unseen(monkeypatch):
    """Every file of Testing/slicer that pytest runs here is one that Slicer runs, too."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    script = _script()
    tests = unittest.defaultTestLoader.discover(str(SCRIPT.parent), "test_*.py", str(script.ROOT))
    assert script.unseenFiles(SCRIPT.parent, "test_*.py", tests) == []
