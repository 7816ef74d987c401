"""Run the tests of Testing/slicer in a real Slicer; exit with 0 only if none failed and each ran or says why not.

Slicer --testing --no-splash --additional-module-paths UltrasoundKD DynamicBrainSeg TextGuidedSeg
       --python-script Testing/slicer/run_in_slicer.py [PATTERN, such as test_frames.py]
"""

import sys
import traceback
import unittest
from pathlib import Path

import slicer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from Testing.slicer import gestures  # noqa: E402 - found by the path above

MODULES = ("UltrasoundKD", "DynamicBrainSeg", "TextGuidedSeg")
PASSED, FAILED, NOT_RUN = range(3)  # exit codes


class Result(unittest.TextTestResult):
    """Each test starts in a clean application, and fails if a slot or an observer raised: Slicer only prints that."""

    def startTest(self, test):
        gestures.startOver()
        self._slotErrors = []
        self._excepthook, sys.excepthook = sys.excepthook, self._record
        super().startTest(test)

    def _record(self, kind, error, trace):
        self._slotErrors.append("".join(traceback.format_exception(kind, error, trace)))

    def stopTest(self, test):
        gestures.settle(10)
        gestures.startOver()
        gestures.settle(10)
        sys.excepthook = self._excepthook
        if self._slotErrors:
            error = AssertionError("errors in slots:\n" + "\n".join(self._slotErrors))
            self.addFailure(test, (AssertionError, error, None))
        super().stopTest(test)


def missingModules():
    """Modules whose script is in this repository but that Slicer has not loaded."""
    present = [name for name in MODULES if (ROOT / name / f"{name}.py").is_file()]
    return [name for name in present if not hasattr(slicer.modules, name.lower())]


def unseenFiles(folder, pattern, tests):
    """Test files below the folder of which unittest found no test, such as those in a folder that is no package."""
    ids = [test.id() + "." for test in _flat(tests)]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in sorted(folder.rglob(pattern))]
    return [name for name in names if not any(f"{name}." in each for each in ids)]


def _flat(tests):
    for each in tests:
        if isinstance(each, unittest.TestSuite):
            yield from _flat(each)
        else:
            yield each


def run(folder, pattern="test_*.py"):
    """Run the tests below a folder of the repository, print a summary with every skip and its reason.

    Returns the exit code: PASSED, FAILED, or NOT_RUN where a module is not loaded or a file has no test that is found.
    """
    if missingModules():
        folders = " ".join(str(ROOT / name) for name in missingModules())
        return _refuse(f"These modules are not loaded: start Slicer with --additional-module-paths {folders}")
    tests = unittest.defaultTestLoader.discover(str(folder), pattern, str(ROOT))
    if tests.countTestCases() == 0:
        return _refuse(f"No test below {folder} matches {pattern}.")
    unseen = unseenFiles(folder, pattern, tests)
    if unseen:
        return _refuse("No test is found in: " + ", ".join(unseen))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(tests)
    for test, reason in result.skipped:
        _write(f"SKIPPED {test}: {reason}")
    counts = len(result.failures), len(result.errors), len(result.skipped)
    _write("{} tests: {} failures, {} errors, {} skipped".format(result.testsRun, *counts))
    return PASSED if result.wasSuccessful() else FAILED


def _refuse(reason):
    _write(reason)
    return NOT_RUN


def _write(line):
    sys.stdout.write(line + "\n")


def main():
    """Run, and exit in any case: nobody watches this Slicer."""
    try:
        code = run(ROOT / "Testing" / "slicer", *sys.argv[1:2])
    except Exception:
        traceback.print_exc()
        code = NOT_RUN
    slicer.util.exit(code)


if __name__ == "__main__":
    main()
