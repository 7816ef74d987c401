"""The parameters of a module in its parameter node, which is saved and loaded with the scene."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import slicer
import vtk

from leanseg.errors import UnknownNameError

Value = str | int | float | bool

_NODE_CLASS = "vtkMRMLScriptedModuleNode"


class Parameters:
    """Named values with defaults, and references to nodes.

    The node is the one that ScriptedLoadableModuleLogic.getParameterNode() gives. It holds, as text, only what was set.
    """

    def __init__(self, moduleName: str, defaults: Mapping[str, Value]) -> None:
        """`defaults`: every parameter with its default, whose type is the type of the parameter."""
        self._moduleName = moduleName
        self._defaults = dict(defaults)
        self._refused: set[tuple[str, str]] = set()  # (key, text) that the log has named already
        self._callback: Callable[[], None] | None = None
        self._observedNode: Any = None
        self._nodeTag = 0
        self._observedScene: Any = None
        self._sceneTag = 0

    @property
    def parameterNode(self) -> Any:
        """The vtkMRMLScriptedModuleNode of the module; it is made where the scene has none."""
        for node in slicer.util.getNodesByClass(_NODE_CLASS):
            if node.GetAttribute("ModuleName") == self._moduleName:
                return node
        node = slicer.mrmlScene.CreateNodeByClass(_NODE_CLASS)
        node.UnRegister(None)  # the scene holds it from here on
        node.SetSingletonTag(self._moduleName)
        node.SetModuleName(self._moduleName)
        node.SetAttribute("ModuleName", self._moduleName)
        node.SetName(self._moduleName)
        return slicer.mrmlScene.AddNode(node)

    def get(self, key: str) -> Any:
        """The value that was set, or the default, also where the scene holds a text that makes no sense.

        :raises UnknownNameError: there is no such parameter.
        """
        default = self._default(key)
        node = self.parameterNode
        if key not in node.GetParameterNames():
            return default
        text = node.GetParameter(key)
        try:
            return _parse(text, type(default))
        except ValueError:
            if (key, text) not in self._refused:
                self._refused.add((key, text))
                logging.warning(
                    f"The scene has {text!r} for {key} of {self._moduleName}, which needs"
                    f" {_WORDS[type(default)]}; it is taken as {default!r}."
                )
            return default

    def set(self, key: str, value: Value) -> None:
        """Keep a value. The observer is told if it is another one.

        :raises UnknownNameError: there is no such parameter.
        :raises TypeError: the value is not of the type of the default; an int is also a float.
        :raises ValueError: a float that is infinite or not a number.
        """
        expected = type(self._default(key))
        isBool = isinstance(value, bool)
        fits = isinstance(value, (int, float) if expected is float else expected)
        if not fits or isBool != (expected is bool):
            raise TypeError(f"The parameter {key} needs {_WORDS[expected]}; {value!r} came.")
        text = str(expected(value))
        _parse(text, expected)
        self.parameterNode.SetParameter(key, text)

    def node(self, role: str) -> Any:
        """The node that was set for a role; None if there was none, or it was removed."""
        return self.parameterNode.GetNodeReference(role)

    def setNode(self, role: str, node: Any) -> None:
        """Refer to a node of the scene by a role; None ends the reference."""
        self.parameterNode.SetNodeReferenceID(role, None if node is None else node.GetID())

    def observe(self, callback: Callable[[], None]) -> None:
        """Call `callback()` when a value or reference has changed, and once after a scene was closed or loaded.

        It takes the place of an earlier callback. Call `unobserve` when the module goes: the scene holds the callback.
        """
        self.unobserve()
        self._callback = callback
        self._observedScene = slicer.mrmlScene
        self._sceneTag = self._observedScene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, self._onBatchEnd)
        self._observeNode()

    def unobserve(self) -> None:
        """Call nothing any more."""
        self._callback = None
        if self._observedScene is not None:
            self._observedScene.RemoveObserver(self._sceneTag)
        if self._observedNode is not None:
            self._observedNode.RemoveObserver(self._nodeTag)
        self._observedScene = self._observedNode = None

    def _observeNode(self) -> None:
        """The node that there is now: closing or loading a scene resets it, or puts another one in its place."""
        if self._observedNode is not None:
            self._observedNode.RemoveObserver(self._nodeTag)
        self._observedNode = self.parameterNode
        self._nodeTag = self._observedNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, _caller: Any, _event: str) -> None:
        if self._callback is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._callback()

    def _onBatchEnd(self, _caller: Any, _event: str) -> None:
        if self._callback is not None:
            self._observeNode()
            self._callback()

    def _default(self, key: str) -> Value:
        if key not in self._defaults:
            raise UnknownNameError("parameter", key, self._defaults)
        return self._defaults[key]


_WORDS: dict[type, str] = {str: "a text", int: "a whole number", float: "a finite number", bool: "True or False"}


def _parse(text: str, expected: type) -> Value:
    if expected is bool:
        if text not in ("True", "False"):
            raise ValueError(f"{text!r} is neither True nor False.")
        return text == "True"
    if expected is float and not math.isfinite(float(text)):
        raise ValueError(f"{text!r} is not finite.")
    value: Value = expected(text)
    return value
