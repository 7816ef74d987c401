"""The conversation about each image in a node of its own, which is saved and loaded with the scene."""

from __future__ import annotations

from typing import Any

import slicer

from leanseg.errors import LeanSegError

MODULE = "TextGuidedSeg.conversation"  # attribute ModuleName of the nodes
IMAGE, TEXT = "image", "conversation"  # role of the image, name of the parameter
UNREAD = "imageOfUnread"  # role of the image, of a conversation that could not be read when another one began


def load(volumeNode: Any) -> Any:
    """`Conversation` about an image; an empty one where nothing was said.

    :raises LeanSegError: the scene has one that cannot be read.
    """
    from leanseg.conversation import Conversation

    node = _nodeOf(volumeNode)
    return Conversation() if node is None else Conversation.from_json(node.GetParameter(TEXT))


def has(volumeNode: Any) -> bool:
    """Whether the scene has a conversation about an image that can be read."""
    node = _nodeOf(volumeNode)
    return node is not None and _isReadable(node)


def save(volumeNode: Any, conversation: Any) -> None:
    """Keep it with the scene; no node is made for an empty one, and one that cannot be read stays as it is."""
    node, text = _nodeOf(volumeNode), conversation.to_json()
    if node is not None and node.GetParameter(TEXT) == text:
        return
    isReadable = node is not None and _isReadable(node)
    if not isReadable and not conversation.steps and not conversation.undone:
        return
    if node is not None and not isReadable:  # of a newer LeanSeg, which may still want it
        node.SetNodeReferenceID(UNREAD, volumeNode.GetID())
        node.SetNodeReferenceID(IMAGE, None)
    if not isReadable:
        node = _newNode(volumeNode)
    node.SetParameter(TEXT, text)


def _isReadable(node: Any) -> bool:
    from leanseg.conversation import Conversation

    try:
        Conversation.from_json(node.GetParameter(TEXT))
    except LeanSegError:
        return False
    return True


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
