"""The conversation about each image in a node of its own, which is saved and loaded with the scene."""

from __future__ import annotations

from typing import Any

import slicer

MODULE = "TextGuidedSeg.conversation"  # attribute ModuleName of the nodes
IMAGE, TEXT = "image", "conversation"  # role of the image, name of the parameter


def load(volumeNode: Any) -> Any:
    """`Conversation` about an image; an empty one where nothing was said.

    :raises LeanSegError: the scene has one that cannot be read.
    """
    from leanseg.conversation import Conversation

    node = _nodeOf(volumeNode)
    return Conversation() if node is None else Conversation.from_json(node.GetParameter(TEXT))


def save(volumeNode: Any, conversation: Any) -> None:
    """Keep it with the scene; no node is made for an empty one."""
    node = _nodeOf(volumeNode)
    if node is None:
        if not conversation.steps and not conversation.undone:
            return
        node = _newNode(volumeNode)
    text = conversation.to_json()
    if node.GetParameter(TEXT) != text:
        node.SetParameter(TEXT, text)


def _nodeOf(volumeNode: Any) -> Any:
    for node in slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode"):
        if node.GetAttribute("ModuleName") == MODULE and node.GetNodeReference(IMAGE) is volumeNode:
            return node
    return None


def _newNode(volumeNode: Any) -> Any:
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    node.UnRegister(None)  # the scene holds it from here on
    node.SetHideFromEditors(True)
    node.SetAttribute("ModuleName", MODULE)
    node.SetName(f"{volumeNode.GetName()} conversation")
    node = slicer.mrmlScene.AddNode(node)
    node.SetNodeReferenceID(IMAGE, volumeNode.GetID())
    return node
