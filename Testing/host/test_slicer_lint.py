"""Each rule of the lint finds what it is for, and leaves alone what it is not for; the project itself is clean."""

import pytest
import slicer_lint

# rule -> (code that it must find, code that it must not find)
EXAMPLES = {
    "instance-check": (
        [
            "isinstance(w, qt.QWidget)",
            "isinstance(w, QWidget)",
            "isinstance(w, (str, ctk.ctkSliderWidget))",
            "issubclass(c, slicer.qMRMLWidget)",
        ],
        ["isinstance(node, slicer.vtkMRMLVolumeNode)", "isinstance(x, str)", "w.inherits('QWidget')"],
    ),
    "constructor-keyword": (
        [
            "qt.QLabel('a', parent=w)",
            "QLabel(text='a')",
            "ctk.ctkSliderWidget(parent=w)",
            "slicer.qMRMLNodeComboBox(parent=w)",
        ],
        ["qt.QLabel('a', w)", "slicer.util.errorDisplay('a', parent=w)", "slicer.util.loadVolume(p, properties={})"],
    ),
    "scoped-enum": (
        [
            "qt.Qt.AlignmentFlag.AlignLeft",
            "Qt.AlignmentFlag.AlignLeft",
            "qt.QMessageBox.StandardButton.Yes",
            "w.f(qt.QSizePolicy.Policy.Expanding)",
        ],
        ["qt.Qt.AlignLeft", "qt.QMessageBox.Yes", "qt.QTimer.singleShot", "slicer.vtkMRMLScene.EndCloseEvent"],
    ),
    "qt6-only": (
        ["event.globalPosition()", "box.checkStateChanged", "event.position()"],
        ["event.pos()", "cursor.position()", "box.stateChanged"],
    ),
    "exec-call": (["dialog.exec()", "qt.QMenu().exec(p)"], ["dialog.exec_()", "exec('x = 1')"]),
    "property-call": (
        [
            "w.text()",
            "self.ui.applyButton.enabled()",
            "combo.currentText()",
            "self.ui.list.count()",
            "self.ui.slider.value()",
            "box.size()",
        ],
        [
            "w.text",
            "table.item(0, 1).text()",
            "layout.count()",
            "image.width()",
            "settings.value('key')",
            "slicer.app.clipboard().text()",
            "button.isEnabled()",
            "button.setText('a')",
            "model.rowCount()",
        ],
    ),
    "pyside-only": (["qt.Signal(int)", "x = qt.QtCore.Qt"], ["qt.QObject()", "qt.Qt.AlignLeft"]),
    "emit-call": (["self.changed.emit(1)"], ["def emit(self, record): pass", "slot(1)"]),
    "signal-connect": (
        ["button.clicked.connect(f)", "b.clicked.connect(lambda *a: f())"],
        ["button.connect('clicked(bool)', f)", "sqlite.connect()"],
    ),
    "lenient-argument": (
        ["label.setText(5)", "label.setText(Path('a'))"],
        ["label.setText(str(5))", "label.setText(name)", "box.setValue(5)"],
    ),
    "other-qt": (["import PySide6", "from PySide6.QtCore import Qt"], ["import qt", "import PythonQt"]),
    "translated-format": (
        ["_(f'Open {name}')", "_('Open {}'.format(name))", "_('a' + name)", "_(text)"],
        ["_('Open {name}').format(name=name)", "f(f'{name}')"],
    ),
    "heavy-import": (
        [
            "import torch",
            "from leanseg import api",
            "try:\n    import openvino.runtime\nexcept ImportError:\n    pass",
            "class A:\n    import SimpleITK",
        ],
        [
            "def f():\n    import torch",
            "import numpy",
            "if TYPE_CHECKING:\n    from leanseg.api import Segmenter",
            "import torchlight",
        ],
    ),
}


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule, (bad, _) in EXAMPLES.items() for code in bad])
def test_finds(rule, code):
    assert [each.rule for each in slicer_lint.check(code)] == [rule]


@pytest.mark.parametrize(("rule", "code"), [(rule, code) for rule, (_, good) in EXAMPLES.items() for code in good])
def test_leaves_alone(rule, code):
    assert rule not in [each.rule for each in slicer_lint.check(code)]


def test_every_rule_has_examples():
    assert set(EXAMPLES) == {*slicer_lint.RULES, slicer_lint.HEAVY_IMPORT}


def test_a_comment_allows_one_rule_on_one_line():
    code = "a.emit(1)  # slicer-lint: allow emit-call\nb.emit(2)\nc.exec()  # slicer-lint: allow emit-call"
    assert [(each.line, each.rule) for each in slicer_lint.check(code)] == [(2, "emit-call"), (3, "exec-call")]


def test_main_prints_findings_and_fails(tmp_path, capsys):
    (tmp_path / "module.py").write_text("x = 1\nw.exec()\n")
    assert slicer_lint.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{tmp_path}/module.py:2: exec-call: use exec_()\n"


def test_the_project_is_clean():
    folders = slicer_lint.projectFolders()
    covered = {file.relative_to(slicer_lint.ROOT).as_posix() for folder in folders for file in folder.rglob("*.py")}
    assert {"UltrasoundKD/UltrasoundKD.py", "leanseg/slicer_bridge/nodes.py", "Testing/slicer/gestures.py"} <= covered
    findings = slicer_lint.checkFiles(folders)
    assert [
        f"{each.path.relative_to(slicer_lint.ROOT)}:{each.line}: {each.rule}: {each.message}" for each in findings
    ] == []
