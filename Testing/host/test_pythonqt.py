"""PythonQt's ways, as Slicer's scripts meet them."""

import ctk
import pytest
import qt
import slicer
import slicer_host


def test_properties_are_attributes_and_setters_stay():
    label = qt.QLabel("a")
    assert label.text == "a"
    label.text = "b"
    assert label.text == "b"
    label.setText("c")
    assert label.text == "c"
    box = qt.QCheckBox()
    box.checked = True
    assert box.isChecked() and box.checked
    assert qt.QLabel().wordWrap is False


def test_an_enum_property_takes_a_number():
    label = qt.QLabel()
    label.alignment = 0x82
    assert int(label.alignment) == int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter)


def test_a_property_refuses_what_it_cannot_hold():
    with pytest.raises(AttributeError, match="maximum"):
        qt.QSpinBox().maximum = "ten"


def test_a_cpp_object_takes_no_new_attributes():
    for widget in (qt.QLabel(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox()):
        with pytest.raises(AttributeError, match="no new attributes"):
            widget.mine = 1
    assert slicer_host.stubsUsed == {"ctkSliderWidget.mine", "qMRMLNodeComboBox.mine"}
    slicer_host.clearRecords()
    with pytest.raises(AttributeError, match="can not be overwritten"):
        qt.QLabel().show = 1


def test_a_derived_class_takes_new_attributes():
    class Mine(qt.QWidget):
        pass

    widget = Mine()
    widget.mine = 1
    assert widget.mine == 1
    assert widget.className() == "QWidget"


def test_name_is_the_object_name_and_children_are_attributes():
    parent = qt.QWidget()
    child = qt.QLabel("a", parent)
    child.name = "title"
    assert child.objectName == "title"
    assert parent.title is child
    assert parent.findChild("QLabel", "title") is child
    assert parent.findChildren("QPushButton") == []


def test_dynamic_properties_are_attributes():
    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "threshold")
    assert widget.SlicerParameterName == "threshold"
    widget.SlicerParameterName = "opacity"
    assert widget.property("SlicerParameterName") == "opacity"


def test_connect_passes_what_the_slot_takes():
    button, calls = qt.QPushButton(), []
    button.setCheckable(True)
    button.connect("clicked(bool)", lambda checked: calls.append(checked))
    button.connect("clicked()", lambda: calls.append("no argument"))
    button.connect("clicked(bool)", lambda: calls.append("argument dropped"))
    button.click()
    assert calls == [True, "no argument", "argument dropped"]


def test_connect_to_a_named_slot_and_disconnect():
    slider, box, values = qt.QSlider(), qt.QSpinBox(), []
    slider.connect("valueChanged(int)", box, "setValue(int)")
    slider.connect("valueChanged(int)", values.append)
    slider.setValue(7)
    assert slider.disconnect("valueChanged(int)", values.append)
    slider.setValue(8)
    assert (box.value, values) == (8, [7])


def test_connect_to_a_signal_that_is_none_raises():
    with pytest.raises(ValueError, match="QPushButton has no signal squeezed"):
        qt.QPushButton().connect("squeezed()", print)


def test_static_functions_return_the_value_only(tmp_path):
    with slicer_host.modalPolicy(lambda function, text: str(tmp_path / "a.csv")):
        assert qt.QFileDialog.getSaveFileName(None, "Save", "") == str(tmp_path / "a.csv")


def test_single_shot_is_a_function_on_class_and_objects():
    calls = []
    qt.QTimer.singleShot(0, lambda: calls.append(1))
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.connect("timeout()", lambda: calls.append(2))
    timer.start(0)
    slicer.app.settle(20)
    assert sorted(calls) == [1, 2]
    assert timer.isSingleShot() and not timer.active


def test_a_mouse_event_tells_its_place_as_in_qt_5():
    at, none = qt.QPointF(3, 4), qt.Qt.NoButton
    event = qt.QMouseEvent(qt.QEvent.MouseMove, at, at, none, none, qt.Qt.NoModifier)
    assert (event.pos().x(), event.pos().y()) == (3, 4)


def test_a_combo_box_gives_data_as_a_property():
    combo = qt.QComboBox()
    combo.addItem("a", "first")
    combo.addItem("b", "second")
    combo.currentIndex = 1
    assert (combo.currentData, combo.currentText, combo.count) == ("second", "b", 2)


def test_a_slider_widget_rounds_clamps_and_tells():
    slider, values = ctk.ctkSliderWidget(), []
    slider.connect("valueChanged(double)", values.append)
    slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 0, 1, 0.01, 2
    slider.value = 0.456
    slider.value = 7
    slider.value = 1.0
    assert values == [0.46, 1.0]


def test_a_collapsible_button_hides_its_contents():
    button = ctk.ctkCollapsibleButton("Section")
    layout = qt.QVBoxLayout(button)
    label = qt.QLabel("inside")
    layout.addWidget(label)
    button.show()
    button.collapsed = True
    assert not label.isVisible() and button.collapsed
    button.click()
    assert label.isVisible() and not button.collapsed


def _section():
    button = ctk.ctkCollapsibleButton("Section")
    layout = qt.QVBoxLayout(button)
    labels = qt.QLabel("first"), qt.QLabel("second")
    for label in labels:
        layout.addWidget(label)
    return button, labels


def _visible(labels):
    return [label.visible for label in labels]


@pytest.mark.parametrize("shownFirst", [False, True])
def test_a_collapsible_button_leaves_hidden_what_the_module_hid(shownFirst):
    button, labels = _section()
    if shownFirst:
        button.show()
    labels[0].hide()
    button.show()
    assert _visible(labels) == [False, True]
    button.collapsed = True
    assert _visible(labels) == [False, False]
    button.collapsed = False
    assert _visible(labels) == [False, True]


@pytest.mark.parametrize("shownFirst", [False, True])
def test_a_collapsed_button_shows_later_what_the_module_shows(shownFirst):
    button, labels = _section()
    labels[0].hide()
    if shownFirst:
        button.show()
    button.collapsed = True
    labels[0].show()
    labels[1].hide()
    button.show()
    assert _visible(labels) == [False, False]
    button.collapsed = False
    assert _visible(labels) == [True, False]
    button.hide()
    button.show()
    assert _visible(labels) == [True, False]


def test_settings_are_kept_and_are_not_the_persons():
    settings = slicer.app.settings()
    settings.setValue("LeanSeg/folder", "a")
    assert qt.QSettings().value("LeanSeg/folder") == "a"
    assert settings.fileName().startswith(slicer.app.temporaryPath)
