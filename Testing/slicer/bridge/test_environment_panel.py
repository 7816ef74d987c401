"""The environment panel by its buttons, with a make-believe pip."""

import logging
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import qt
import slicer

from leanseg.slicer_bridge.environment import requirements
from leanseg.slicer_bridge.environment_panel import EnvironmentPanel
from Testing.slicer.bridge.openvino_files import FILES, INFO, RECORD, VERSION, sitePackages, write, writeWheel
from Testing.slicer.gestures import click, key, settle

COMPLETE = FILES | {f"{INFO}/RECORD": RECORD}


class EnvironmentPanelTest(unittest.TestCase):
    def setUp(self):
        site = sitePackages()
        self.site = site.__enter__()
        self.addCleanup(site.__exit__, None, None, None)
        self.changes = 0
        self.panel = EnvironmentPanel("slicewise", self._count)
        self.panel.widget.show()
        self.addCleanup(self.panel.widget.deleteLater)
        self.addCleanup(self.panel.widget.hide)
        self.panel.refresh()

    def _count(self):
        self.changes += 1

    def child(self, name):
        found = slicer.util.findChild(self.panel.widget, name)
        self.assertEqual(name, found.objectName)
        return found

    def rows(self):
        table = self.child("environmentTable")
        items = [table.topLevelItem(row) for row in range(table.topLevelItemCount)]
        return [tuple(item.text(column) for column in range(3)) for item in items]

    def summary(self):
        return self.child("environmentSummaryLabel").text

    def clickInstall(self, answer, pip):
        self.questions = []

        def ask(text, *_options):
            self.questions.append(text)
            return answer

        with (
            mock.patch.object(slicer.util, "confirmOkCancelDisplay", ask),
            mock.patch.object(slicer.util, "pip_install", pip),
        ):
            click(self.child("installRuntimeButton"))

    def succeed(self, arguments):
        self.arguments = arguments
        sys.stdout.write("Collecting openvino\n")
        write(self.site, COMPLETE)

    def failHalfWay(self, arguments):
        write(self.site, {"openvino/__init__.py": ""})
        sys.stdout.write("Collecting openvino\nOSError: [Errno 28] No space left on device\n")
        raise subprocess.CalledProcessError(1, "pip install")

    def refuse(self, *_arguments):
        self.fail("nothing may be installed here")


class WhatIsShown(EnvironmentPanelTest):
    def test_a_line_for_every_requirement(self):
        self.assertEqual([(one.name, one.state, one.version) for one in requirements()], self.rows())
        self.assertEqual(("openvino", "missing", ""), self.rows()[0])

    def test_the_first_problem_is_summed_up(self):
        self.assertEqual("openvino is missing: runs the models.", self.summary())
        self.assertFalse(self.panel.isComplete)

    def test_a_refresh_looks_again(self):
        write(self.site, COMPLETE)
        self.panel.refresh()
        self.assertEqual(("openvino", "ok", VERSION), self.rows()[0])

    def test_before_the_first_refresh_nothing_is_complete(self):
        self.assertFalse(EnvironmentPanel("slicewise").isComplete)

    def test_what_is_there_is_not_installed_again(self):
        for name in ("installRuntimeButton", "installFromFolderButton"):
            self.assertTrue(self.child(name).enabled)
        write(self.site, COMPLETE)
        self.panel.refresh()
        for name in ("installRuntimeButton", "installFromFolderButton"):
            self.assertFalse(self.child(name).enabled)
        self.assertTrue(self.child("copyDiagnosticsButton").enabled)

    def test_the_diagnostics_are_copied(self):
        slicer.app.clipboard().setText("before")
        click(self.child("copyDiagnosticsButton"))
        text = slicer.app.clipboard().text()
        self.assertIn("LeanSeg ", text.splitlines()[0])
        self.assertIn("openvino : missing", text)


class Installing(EnvironmentPanelTest):
    def test_nothing_is_downloaded_before_a_yes_to_a_question_that_says_how_much(self):
        self.clickInstall(False, self.refuse)
        self.assertRegex(self.questions[0], r"OpenVINO \(\d\d MB\) will be downloaded")
        self.assertEqual("missing", self.rows()[0][1])
        self.assertEqual(0, self.changes)

    def test_after_a_yes_it_is_installed_shown_and_told(self):
        self.clickInstall(True, self.succeed)
        self.assertEqual(("openvino", "ok", VERSION), self.rows()[0])
        self.assertIn("--no-deps", self.arguments)
        self.assertEqual(1, self.changes)

    def test_a_failure_in_the_middle_is_one_message_and_a_clear_state(self):
        with self.assertLogs(level=logging.ERROR) as logs:
            self.clickInstall(True, self.failHalfWay)
        self.assertEqual(1, len(logs.records))
        self.assertIn("The disk is full", logs.output[0])
        self.assertIn("The disk is full", self.summary())
        self.assertEqual(("openvino", "broken", ""), self.rows()[0])
        self.assertTrue(self.child("installRuntimeButton").enabled)
        self.assertEqual(1, self.changes)

    def test_a_message_has_what_pip_said_as_details(self):
        with mock.patch.object(slicer.util, "errorDisplay") as message:
            self.clickInstall(True, self.failHalfWay)
        message.assert_called_once()
        self.assertIn("Collecting openvino\nOSError", message.call_args.kwargs["detailedText"])

    def test_after_a_failure_the_next_try_can_succeed(self):
        with self.assertLogs(level=logging.ERROR):
            self.clickInstall(True, self.failHalfWay)
        self.clickInstall(True, self.succeed)
        self.assertEqual(("openvino", "ok", VERSION), self.rows()[0])

    def test_it_can_be_installed_from_a_folder_without_a_question_about_a_download(self):
        with tempfile.TemporaryDirectory() as folder:
            writeWheel(folder)
            with (
                mock.patch.object(self.panel, "_chooseFolder", return_value=folder),
                mock.patch.object(slicer.util, "confirmOkCancelDisplay", self.refuse),
                mock.patch.object(slicer.util, "pip_install", self.succeed),
            ):
                click(self.child("installFromFolderButton"))
            self.assertEqual(str(Path(folder)), self.arguments[self.arguments.index("--find-links") + 1])
        self.assertEqual("ok", self.rows()[0][1])

    def test_no_folder_chosen_is_no_installation(self):
        with (
            mock.patch.object(self.panel, "_chooseFolder", return_value=""),
            mock.patch.object(slicer.util, "pip_install", self.refuse),
        ):
            click(self.child("installFromFolderButton"))
        self.assertEqual(0, self.changes)

    def test_meanwhile_a_dialog_keeps_the_user_from_working_and_then_goes(self):
        seen = []

        def pip(arguments):
            dialog = slicer.app.activeModalWidget()
            seen.append(dialog.windowTitle)
            key(dialog, qt.Qt.Key_Escape)
            seen.append(dialog.visible)
            self.succeed(arguments)

        self.clickInstall(True, pip)
        settle(20)
        self.assertEqual(["Installing OpenVINO", True], seen)
        self.assertIsNone(slicer.app.activeModalWidget())


if __name__ == "__main__":
    unittest.main()
