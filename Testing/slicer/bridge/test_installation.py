"""Installing OpenVINO: with a make-believe pip that does what it is told, and with the real one from a folder."""

import contextlib
import importlib
import shutil
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from pathlib import Path
from unittest import mock

import slicer

from leanseg.errors import MissingDependencyError
from leanseg.slicer_bridge import installation
from leanseg.slicer_bridge.environment import examinePackage
from leanseg.slicer_bridge.installation import OPENVINO, downloadCommand, installRuntime
from Testing.slicer.bridge.openvino_files import FILES, INFO, RECORD, sitePackages, write, writeWheel

COMPLETE = FILES | {f"{INFO}/RECORD": RECORD}
HALF = {name: FILES[name] for name in ("openvino/__init__.py", f"{INFO}/METADATA")}
DISK_FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"


class FakePip:
    """`slicer.util.pip_install` that writes files, prints, and fails if it is given an exit code."""

    def __init__(self, folder, files=(), prints="", code=0):
        self.folder, self.files, self.prints, self.code = folder, dict(files), prints, code
        self.calls = []

    def __call__(self, arguments):
        self.calls.append(arguments)
        write(self.folder, self.files)
        sys.stdout.write(self.prints)
        if self.code:
            raise subprocess.CalledProcessError(self.code, "pip install")


class InstallationTest(unittest.TestCase):
    def setUp(self):
        site = sitePackages()
        self.site = site.__enter__()
        self.addCleanup(site.__exit__, None, None, None)
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.wheels = Path(temporary.name)
        self.log = []

    @contextlib.contextmanager
    def pip(self, files=(), prints="", code=0):
        fake = FakePip(self.site, files, prints, code)
        with mock.patch.object(slicer.util, "pip_install", fake):
            yield fake

    def install(self, wheelFolder=None):
        installRuntime(wheelFolder, self.log.append)

    def state(self):
        importlib.invalidate_caches()
        return examinePackage("openvino").state


class Installing(InstallationTest):
    def test_openvino_is_installed_without_what_it_asks_for(self):
        with self.pip(COMPLETE, "Collecting openvino\nSuccessfully installed openvino-2025.9.9\n") as pip:
            self.install()
        self.assertEqual("ok", self.state())
        (arguments,) = pip.calls
        self.assertIn("--no-deps", arguments)
        self.assertIn(OPENVINO, arguments)
        self.assertNotIn("--no-index", arguments)
        self.assertFalse([argument for argument in arguments if "telemetry" in argument])
        self.assertEqual(["Collecting openvino", "Successfully installed openvino-2025.9.9"], self.log)

    def test_a_folder_with_a_wheel_is_used_instead_of_the_network(self):
        writeWheel(self.wheels)
        with self.pip(COMPLETE) as pip:
            self.install(self.wheels)
        self.assertEqual(["--no-index", "--find-links", str(self.wheels)], pip.calls[0][-3:])

    def test_a_folder_without_a_wheel_is_refused_with_the_command_that_fetches_one(self):
        for folder in (self.wheels, self.wheels / "not there"):
            with self.subTest(folder), self.pip() as pip:
                with self.assertRaises(MissingDependencyError) as raised:
                    self.install(folder)
                self.assertIn(str(folder), str(raised.exception))
                self.assertIn(downloadCommand(), str(raised.exception))
                self.assertEqual([], pip.calls)

    def test_the_command_names_the_wheel_for_the_python_of_this_slicer(self):
        for system, machine, tag in (
            ("Windows", "AMD64", "win_amd64"),
            ("Linux", "x86_64", "manylinux_2_28_x86_64"),
            ("Darwin", "arm64", "macosx_11_0_arm64"),
            ("Darwin", "x86_64", "macosx_10_15_x86_64"),  # Slicer's own builds run translated
        ):
            with (
                self.subTest(system=system, machine=machine),
                mock.patch("platform.system", return_value=system),
                mock.patch("platform.machine", return_value=machine),
            ):
                self.assertIn(f" --platform {tag} ", downloadCommand())

    def test_real_pip_installs_from_a_folder(self):
        writeWheel(self.wheels)
        with mock.patch.object(slicer.util, "pip_install", self._realPip):
            self.install(self.wheels)
        self.assertEqual("ok", self.state())
        self.assertEqual([], list(self.site.glob("*telemetry*")))
        self.assertIn("Successfully installed openvino-2025.9.9", self.log)

    def test_real_pip_and_a_wheel_for_another_python(self):
        writeWheel(self.wheels)
        (wheel,) = self.wheels.glob("*.whl")
        wheel.rename(self.wheels / "openvino-2025.9.9-cp27-cp27m-win32.whl")
        with (
            mock.patch.object(slicer.util, "pip_install", self._realPip),
            self.assertRaisesRegex(MissingDependencyError, "no OpenVINO for Python 3"),
        ):
            self.install(self.wheels)
        self.assertEqual("missing", self.state())

    def _realPip(self, arguments):
        python = shutil.which("PythonSlicer") or sys.executable
        command = [python, "-m", "pip", "install", "--target", str(self.site), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sys.stdout.write(done.stdout + done.stderr)
        done.check_returncode()


class Failing(InstallationTest):
    def test_a_failure_in_the_middle_leaves_a_broken_state_and_one_line(self):
        prints = "Installing collected packages: openvino\n" + DISK_FULL
        with self.pip(HALF, prints, code=1), self.assertRaises(MissingDependencyError) as raised:
            self.install()
        self.assertEqual("broken", self.state())
        self.assertIn("disk is full", str(raised.exception))
        self.assertNotIn("\n", str(raised.exception))

    def test_the_next_try_overwrites_what_the_first_one_left(self):
        cases = [(HALF, "--ignore-installed"), (COMPLETE | {"openvino/libs/runtime.bin": ""}, "--force-reinstall")]
        for left, option in cases:
            with self.subTest(option):
                write(self.site, left)
                self.assertEqual("broken", self.state())
                with self.pip(COMPLETE) as pip:
                    self.install()
                self.assertIn(option, pip.calls[0])
                self.assertEqual("ok", self.state())

    def test_a_pip_that_does_nothing_is_not_believed(self):
        refused = self.assertRaisesRegex(MissingDependencyError, "OpenVINO is missing.*--testing")
        with self.pip(prints="Testing mode is enabled: skipping\n") as pip, refused:
            self.install()
        self.assertEqual(1, len(pip.calls))

    def test_a_loaded_openvino_is_not_replaced(self):
        loaded = mock.patch.dict(sys.modules, {"openvino": types.ModuleType("openvino")})
        with self.pip(COMPLETE) as pip, loaded, self.assertRaisesRegex(MissingDependencyError, "Restart Slicer"):
            self.install()
        self.assertEqual([], pip.calls)

    def test_other_threads_are_refused(self):
        raised = []

        def install():
            try:
                self.install()
            except RuntimeError as error:
                raised.append(str(error))

        with self.pip(COMPLETE) as pip:
            thread = threading.Thread(target=install)
            thread.start()
            thread.join(30)
        self.assertEqual(["Packages can be installed on the main thread only."], raised)
        self.assertEqual([], pip.calls)

    def test_a_slicer_without_its_python_is_said(self):
        failing = mock.Mock(side_effect=RuntimeError("PythonSlicer executable not found"))
        refused = self.assertRaisesRegex(MissingDependencyError, "PythonSlicer executable not found")
        with mock.patch.object(slicer.util, "pip_install", failing), refused:
            self.install()


class OutsideOfTestingMode(InstallationTest):
    """Slicer 5.12 runs pip beside the GUI; 5.10 has no slicer.packaging."""

    def setUp(self):
        super().setUp()
        app = types.SimpleNamespace(testingEnabled=lambda: False, processEvents=self.processEvents)
        standIn = types.SimpleNamespace(app=app, util=slicer.util)
        patch = mock.patch.object(installation, "slicer", standIn)
        patch.start()
        self.addCleanup(patch.stop)
        self.pending = []  # what pip does while events are processed

    def processEvents(self):
        self.pending.pop(0)()

    def pipBeside(self, files, prints, code):
        def pip_install(requirements, **options):
            self.assertFalse(options["blocking"])
            self.pending = [
                lambda: options["logCallback"](prints),
                lambda: write(self.site, files),
                lambda: options["completedCallback"](code),
            ]

        return mock.patch("slicer.packaging.pip_install", pip_install)

    def test_slicer_5_12_installs_beside_the_gui(self):
        with self.pipBeside(COMPLETE, "Collecting openvino", 0):
            self.install()
        self.assertEqual("ok", self.state())
        self.assertEqual(["Collecting openvino"], self.log)
        self.assertEqual([], self.pending)

    def test_a_failure_in_slicer_5_12_is_explained(self):
        with self.pipBeside(HALF, DISK_FULL, 1), self.assertRaisesRegex(MissingDependencyError, "disk is full"):
            self.install()

    def test_slicer_5_10_installs_with_its_utility(self):
        noPackaging = types.SimpleNamespace(find_spec=lambda name: None)
        with mock.patch.object(installation, "util", noPackaging), self.pip(COMPLETE, "Collecting openvino\n"):
            self.install()
        self.assertEqual("ok", self.state())
        self.assertEqual(["Collecting openvino"], self.log)


if __name__ == "__main__":
    unittest.main()
