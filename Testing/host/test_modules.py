"""Scripted modules: loading, Designer file, enter and exit, reload, node selector, sample data, the module's tests."""

import textwrap
from pathlib import Path

import pytest
import slicer
import slicer_host

MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *

class NAME(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Example NAME")
        parent.categories = ["Segmentation"]
        slicer.app.connect("startupCompleted()", self.started)
        self.startups = 0

    def started(self):
        self.startups += 1

class NAMEWidget(ScriptedLoadableModuleWidget):
    def setup(self):
        self.events = ["setup"]
        widget = slicer.util.loadUI(self.resourcePath("UI/NAME.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.ui.apply.connect("clicked(bool)", self.applied)

    def applied(self, checked):
        self.events.append("applied")

    def enter(self):
        self.events.append("enter")

    def exit(self):
        self.events.append("exit")

    def cleanup(self):
        self.events.append("cleanup")

class NAMELogic(ScriptedLoadableModuleLogic):
    pass

class NAMETest(ScriptedLoadableModuleTest):
    ran = []

    def test_one(self):
        self.ran.append("one")
"""
DESIGN = """<ui version="4.0"><widget class="qMRMLWidget" name="NAME"><layout class="QVBoxLayout">
<item><widget class="qMRMLNodeComboBox" name="input"><property name="nodeTypes"><stringlist>
<string>vtkMRMLScalarVolumeNode</string></stringlist></property>
<property name="addEnabled"><bool>false</bool></property></widget></item>
<item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets><customwidget><class>qMRMLWidget</class><extends>QWidget</extends></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget></customwidgets>
<connections><connection><sender>NAME</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>input</receiver>
<slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


@pytest.fixture(scope="module")
def widgets(tmp_path_factory):
    """The widgets of two modules, First and Second, loaded once; Third is there to be reloaded."""
    made = []
    for name in ("First", "Second", "Third"):
        folder = tmp_path_factory.mktemp(name)
        (folder / "Resources" / "UI").mkdir(parents=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(MODULE).replace("NAME", name))
        (folder / "Resources" / "UI" / f"{name}.ui").write_text(DESIGN.replace("NAME", name))
        slicer_host.start().loadModule(folder / f"{name}.py")
        slicer.util.selectModule(name)
        made.append(slicer.util.getModuleWidget(name))
    return made[:2]


def test_switching_modules_exits_one_and_enters_the_other(widgets):
    first, second = widgets
    slicer.util.selectModule("Second")
    for widget in widgets:
        widget.events.clear()
    slicer.util.selectModule("First")
    assert (first.events, second.events) == (["enter"], ["exit"])
    assert first.parent.visible and not second.parent.visible
    slicer.util.selectModule("First")
    assert first.events == ["enter"]
    assert slicer.util.selectedModule() == "First"


def test_slicers_own_modules_take_the_place_of_ours(widgets):
    first, _ = widgets
    slicer.util.selectModule("First")
    first.events.clear()
    slicer.util.selectModule("Data")
    assert first.events == ["exit"] and not first.parent.visible
    assert slicer.util.selectedModule() == "Data"


def test_reloading_reads_the_script_again_and_makes_the_widget_anew(widgets):
    old = slicer.util.getModuleWidget("Third")
    slicer.util.selectModule("Third")
    old.events.clear()
    script = Path(slicer.util.modulePath("Third"))
    script.write_text(script.read_text().replace('"applied"', '"applied by the new code"'))
    old.onReload()
    new = slicer.util.getModuleWidget("Third")
    assert new is not old and new.parent is old.parent
    assert old.events == ["cleanup"] and new.events == ["setup"]  # nobody is told to enter, as in Slicer
    slicer.app.settle(10)
    assert not old.ui.apply.visible and new.ui.apply.visible
    new.ui.apply.click()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit("Third")
    assert new.events == ["setup", "applied by the new code", "cleanup"] and old.events == ["cleanup"]


def test_a_module_is_known_by_its_names(widgets):
    assert slicer.modules.first.title == "Example First"
    assert slicer.util.getModule("First").path.endswith("First.py")
    assert slicer.modules.FirstWidget is widgets[0]


def test_startup_is_told_once_it_is_completed(widgets):
    before = slicer.modules.FirstInstance.startups
    slicer.app.startupCompleted.emit()
    assert slicer.modules.FirstInstance.startups == before + 1


def test_a_button_of_the_designer_file_calls_the_module(widgets):
    slicer.util.selectModule("First")
    widgets[0].events.clear()
    widgets[0].ui.apply.click()
    assert widgets[0].events == ["applied"]


def test_the_selector_follows_the_scene(widgets):
    selector, told = widgets[0].ui.input, []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: told.append(node))
    assert selector.currentNode() is None
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions")
    assert selector.currentNode() is volume
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    assert selector.currentNode() is volume
    selector.setCurrentNode(other)
    slicer.mrmlScene.RemoveNode(other)
    assert selector.currentNode() is volume
    slicer.mrmlScene.Clear(0)
    assert told == [volume, other, volume, None]


def test_the_modules_own_test_runs(widgets):
    slicer.modules.FirstTest = type(slicer.modules.FirstInstance).__module__
    slicer.modules.FirstInstance.runTest()
    import First

    assert First.FirstTest.ran == ["one"]


def test_a_module_that_fails_to_load_says_so(tmp_path):
    (tmp_path / "Broken.py").write_text("import no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        slicer_host.start().loadModule(tmp_path / "Broken.py")
    assert not hasattr(slicer.modules, "broken")


def test_sample_data_is_registered_and_loaded_by_name():
    import SampleData

    logic = SampleData.SampleDataLogic()
    logic.registerCustomSampleDataCategory("Example", title="Example")
    logic.registerCustomSampleDataSource(
        category="Example", sampleName="A", customDownloader=lambda source: [source.sampleName]
    )
    assert logic.downloadSample("A") == ["A"]
