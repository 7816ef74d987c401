"""Forbid in module code what passes in the test host (PySide6) and fails or differs in Slicer (PythonQt, Qt 5.15).

python Testing/host/slicer_lint.py [FILE OR FOLDER ...]     prints path:line: rule: message; exit code 1 if there is any

A line that is right all the same says so with the comment `slicer-lint: allow RULE`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("UltrasoundKD", "DynamicBrainSeg", "TextGuidedSeg", "leanseg/slicer_bridge", "Testing/slicer")
NOT_IN_SLICER = ("Testing/slicer/conftest.py",)  # run by pytest only

_HEAVY = ("torch", "openvino", "SimpleITK", "monai", "onnxruntime", "scipy")
_HEAVY += ("leanseg.api", "leanseg.runtime", "leanseg.inference")
_OTHER_QT = ("PySide6", "PySide2", "PyQt6", "PyQt5", "shiboken6")
_QT6_ONLY = ("globalPosition", "scenePosition", "checkStateChanged", "colorScheme", "setColorScheme")
_PYSIDE_ONLY = ("Signal", "Slot", "Property", "QtCore", "QtGui", "QtWidgets")

# Properties that hide their getter on every widget or action that scripts meet.
_PROPERTIES = re.compile(
    "checkable|checked|collapsed|currentData|currentNodeID|currentPath|currentText|decimals|directory|enabled|filters"
    "|interval|maximum|minimum|nodeTypes|objectName|placeholderText|plainText|readOnly|singleStep|styleSheet|text"
    "|toolTip|value|visible|windowTitle"
)
# Properties of widgets that are methods of other things: width() of images, count() of layouts, ...
_OF_WIDGETS_ONLY = re.compile("count|currentIndex|cursor|font|height|pos|rect|rowCount|columnCount|size|width")
_WIDGET_NAME = re.compile(
    r"(button|widget|box|combo|label|slider|edit|selector|panel|window|tabs|ui\.\w+)$", re.IGNORECASE
)
_NO_WIDGET_NAME = re.compile(
    r"(item|index|model|match|action\(\)|itemAt|settings|node|clipboard\(\))(\(.*\))?$", re.IGNORECASE
)
# also what `from qt import QLabel` would name
_CLASS = r"((qt\.)?Q[A-Z]\w+|qt\.Qt|Qt|(ctk\.)?ctk[A-Z]\w+|(slicer\.)?q(MRML|Slicer)\w+)"


class Finding(NamedTuple):
    """One thing to change, and where it is."""

    path: Path
    line: int
    rule: str
    message: str


def _dotted(node: ast.expr) -> str:
    """`qt.Qt.AlignLeft` for an attribute chain on a plain name, else an empty string."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def _method(node: ast.AST) -> str:
    """`show` for a call like w.show(), else an empty string."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


def _isQtClass(node: ast.expr) -> bool:
    return bool(re.fullmatch(_CLASS, _dotted(node)))


def instanceCheck(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and _dotted(node.func) in ("isinstance", "issubclass") and len(node.args) == 2:
        kinds = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
        if any(_isQtClass(kind) for kind in kinds):
            return "False in PythonQt, whose classes inherit nothing: ask widget.inherits('QWidget') or className()"
    return None


def constructorKeyword(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and _isQtClass(node.func) and node.keywords:
        return "constructors take no keyword arguments in PythonQt: use positions and setters"
    return None


def scopedEnum(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and re.fullmatch(_CLASS + r"\.[A-Z]\w+\.[A-Z]\w+", _dotted(node)):
        return "Qt 5 has no scoped enums: leave out the name of the enum (qt.Qt.AlignLeft)"
    return None


def qt6Only(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr in _QT6_ONLY:
        return f"{node.attr} came with Qt 6; Slicer 5.12 has Qt 5.15"
    if isinstance(node, ast.Call) and _dotted(node.func) in ("event.position", "event.points"):
        return "position() of an event came with Qt 6: use pos() or localPos()"
    return None


def execCall(node: ast.AST) -> str | None:
    if _method(node) == "exec":
        return "use exec_()"
    return None


def propertyCall(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.args or node.keywords:
        return None
    name, owner = node.func.attr, _source(node.func.value)
    isWidget = bool(_WIDGET_NAME.search(owner))
    isProperty = _PROPERTIES.fullmatch(name) and not _NO_WIDGET_NAME.search(owner)
    if isProperty or (_OF_WIDGETS_ONLY.fullmatch(name) and isWidget):
        return f"{name} is a property in PythonQt: leave out the parentheses"
    return None


def pysideOnly(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and _dotted(node) in {f"qt.{name}" for name in _PYSIDE_ONLY}:
        return "PythonQt's module has no such name; objects made in Python have no signals: pass a callback"
    return None


def emitCall(node: ast.AST) -> str | None:
    if _method(node) == "emit":
        return "objects made in Python have no signals in PythonQt: pass a callback"
    return None


def signalConnect(node: ast.AST) -> str | None:
    if _method(node) == "connect" and isinstance(node, ast.Call) and len(node.args) + len(node.keywords) == 1:
        return 'overloads are chosen differently: name the signature, obj.connect("clicked(bool)", slot)'
    return None


def lenientArgument(node: ast.AST) -> str | None:
    setters = ("setText", "setToolTip", "setWindowTitle", "setPlainText", "setTitle", "setObjectName")
    if isinstance(node, ast.Call) and _method(node) in setters and node.args:
        value = node.args[0]
        isNumber = isinstance(value, ast.Constant) and not isinstance(value.value, str)
        isPath = isinstance(value, ast.Call) and _dotted(value.func) in ("Path", "pathlib.Path")
        if isNumber or isPath:
            return "PythonQt converts this to text, PySide6 refuses it: pass a str"
    return None


def otherQt(node: ast.AST) -> str | None:
    if any(name.split(".")[0] in _OTHER_QT for name in _imported(node)):
        return "Slicer has PythonQt only: import qt"
    return None


def translatedFormat(node: ast.AST) -> str | None:
    isTranslation = isinstance(node, ast.Call) and _dotted(node.func) in ("_", "tr") and node.args
    if isTranslation and not isinstance(getattr(node.args[0], "value", None), str):
        return "only a plain string can be looked up: name placeholders, and format after the translation"
    return None


RULES = {
    "instance-check": instanceCheck,
    "constructor-keyword": constructorKeyword,
    "scoped-enum": scopedEnum,
    "qt6-only": qt6Only,
    "exec-call": execCall,
    "property-call": propertyCall,
    "pyside-only": pysideOnly,
    "emit-call": emitCall,
    "signal-connect": signalConnect,
    "lenient-argument": lenientArgument,
    "other-qt": otherQt,
    "translated-format": translatedFormat,
}
HEAVY_IMPORT = "heavy-import"


def _source(node: ast.expr) -> str:
    return ast.unparse(node)


def _imported(node: ast.AST) -> list[str]:
    """Full names of what an import statement imports."""
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{each.name}" for each in node.names)]
    return []


def _atFileScope(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run on import: not those in functions, nor those for the type checker only."""
    for child in ast.iter_child_nodes(node):
        isFunction = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not isFunction and not (isinstance(child, ast.If) and _dotted(child.test).endswith("TYPE_CHECKING")):
            yield child
            yield from _atFileScope(child)


def _heavyImports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in _atFileScope(tree):
        heavy = [each for name in _imported(node) for each in _HEAVY if name == each or name.startswith(each + ".")]
        if heavy:
            yield node.lineno, f"{heavy[0]} is loaded when Slicer starts: import it in the function that needs it"


def check(source: str, path: Path = Path("<text>")) -> list[Finding]:
    """Findings in the text of one file, by line."""
    tree = ast.parse(source, str(path))
    found = [Finding(path, line, HEAVY_IMPORT, message) for line, message in _heavyImports(tree)]
    for node in ast.walk(tree):
        for rule, test in RULES.items():
            message = test(node)
            if message:
                found.append(Finding(path, node.lineno, rule, message))
    lines = source.splitlines()
    return sorted(each for each in found if f"slicer-lint: allow {each.rule}" not in lines[each.line - 1])


def checkFiles(places: list[Path]) -> list[Finding]:
    """Findings in files, and in all Python files below folders."""
    files = [file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    files = [file for file in files if not file.resolve().as_posix().endswith(NOT_IN_SLICER)]
    return [finding for file in files for finding in check(file.read_text(encoding="utf-8"), file)]


def projectFolders() -> list[Path]:
    """What is checked by default: everything that runs in Slicer, as far as it exists."""
    return [ROOT / folder for folder in FOLDERS if (ROOT / folder).is_dir()]


def main(arguments: list[str]) -> int:
    findings = checkFiles([Path(each) for each in arguments] or projectFolders())
    for each in findings:
        sys.stdout.write(f"{each.path}:{each.line}: {each.rule}: {each.message}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
