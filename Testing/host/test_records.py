"""Nothing that a person would meet as an error passes a test unseen."""

import pytest
import qt
import slicer
import slicer.packaging
import slicer_host
import vtk

from Testing.slicer import gestures


def _fail(*_arguments):
    raise ValueError("wrong")


def _taken(records):
    """What was recorded; the records are emptied, as it was meant to be."""
    found = list(records)
    slicer_host.clearRecords()
    return found


def test_an_error_in_a_slot_is_recorded():
    button = qt.QPushButton("a")
    button.connect("clicked()", _fail)
    button.click()
    assert "ValueError: wrong" in _taken(slicer_host.slotErrors)[0]


def test_an_error_in_a_single_shot_is_recorded():
    qt.QTimer.singleShot(0, _fail)
    slicer.app.settle(20)
    assert "ValueError: wrong" in _taken(slicer_host.slotErrors)[0]


def test_an_error_in_an_observer_is_recorded():
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, _fail)
    node.Modified()
    assert "ValueError: wrong" in _taken(slicer_host.slotErrors)[0]


@pytest.mark.parametrize("cause", ["slot", "stub", "dialog", "closing the scene"])
def test_a_test_that_leaves_a_record_fails(cause):
    test = slicer_host.judged(gestures.startOver)
    test.__enter__()
    if cause == "slot":
        qt.QTimer.singleShot(0, _fail)
    elif cause == "stub":
        slicer.qMRMLNoSuchWidget()
    elif cause == "dialog":
        qt.QMessageBox.question(None, "a", "b")
    else:
        tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, _fail)
    with pytest.raises(AssertionError, match=r"wrong|qMRMLNoSuchWidget|QMessageBox.question"):
        test.__exit__(None, None, None)
    if cause == "closing the scene":
        slicer.mrmlScene.RemoveObserver(tag)
    assert not slicer_host.slotErrors and not slicer_host.stubsUsed and not slicer_host.modalDialogs


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda: __import__("ctk").ctkRangeSlider(), "ctkRangeSlider"),
        (lambda: slicer.qSlicerMouseModeToolBar(), "qSlicerMouseModeToolBar"),
        (lambda: getattr(slicer.app, "extensionsManagerModel", None), "slicer.app.extensionsManagerModel"),
        (lambda: hasattr(slicer.app.coreIOManager(), "openDialog"), "FileIO.openDialog"),
        (lambda: hasattr(slicer.modules.data, "widgetPresets"), "CoreModule.widgetPresets"),
        (lambda: hasattr(slicer.qMRMLNodeComboBox(), "model"), "qMRMLNodeComboBox.model"),
        (lambda: hasattr(slicer.packaging, "pip_ensure"), "slicer.packaging.pip_ensure"),
        (
            lambda: slicer.packaging.pip_install("a", blocking=False, completedCallback=_fail),
            "slicer.packaging.pip_install(blocking=False)",
        ),
        (lambda: slicer.mrmlScene.Clear(1), "mrmlScene.Clear(1)"),
    ],
)
def test_what_is_not_modeled_is_recorded(use, name):
    use()
    assert _taken(slicer_host.stubsUsed) == [name]


def test_an_unknown_class_or_property_in_a_designer_file_is_recorded(tmp_path):
    (tmp_path / "a.ui").write_text(
        """<ui version="4.0"><widget class="qMRMLWidget" name="top"><widget class="ctkSliderWidget" name="slider">
        <property name="tickPosition"><number>1</number></property>
        <property name="decimals"><number>1</number></property></widget>
        <widget class="QWidget" name="inner"><widget class="QWidget" name="innermost"/></widget>
        </widget><customwidgets><customwidget><class>ctkSliderWidget</class><extends>QWidget</extends></customwidget>
        <customwidget><class>ctkDial</class><extends>QWidget</extends></customwidget></customwidgets></ui>"""
    )
    slicer.util.loadUI(str(tmp_path / "a.ui"))
    assert sorted(_taken(slicer_host.stubsUsed)) == ["ctkDial", "ctkSliderWidget.tickPosition"]


def test_an_unexpected_dialog_is_rejected():
    dialog = qt.QDialog()
    dialog.setWindowTitle("Waits")
    assert dialog.exec_() == qt.QDialog.Rejected
    assert qt.QFileDialog.getSaveFileName(None, "Save", "/") == ""
    assert _taken(slicer_host.modalDialogs) == [("QDialog", "Waits", ""), ("QFileDialog.getSaveFileName", "Save", "/")]


def test_a_policy_answers_dialogs():
    box = qt.QMessageBox()
    box.setText("Go on?")
    met = []

    def answer(dialog, text):
        met.append(text)
        return qt.QMessageBox.Yes if dialog == "QMessageBox.question" else dialog.accept()

    with slicer_host.modalPolicy(answer):
        assert qt.QMessageBox.question(None, "a", "Sure?") == qt.QMessageBox.Yes
        box.exec_()
    assert met == ["Sure?", "Go on?"]


def test_packages_are_recorded_and_not_installed():
    from slicer import packaging

    packaging.calls.clear()
    slicer.util.pip_install("no-such-package", no_deps_requirements=["a"])
    assert packaging.calls == [("no-such-package", {"no_deps_requirements": ["a"]})]
