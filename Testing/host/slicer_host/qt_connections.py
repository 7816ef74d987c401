"""PythonQt's connections: `obj.connect("clicked(bool)", f)`, `obj.disconnect(...)`, errors in slots recorded."""

import inspect
import re
import types
import weakref

from PySide6 import QtCore
from slicer_host.record import slotFailed

_connections = weakref.WeakKeyDictionary()  # sender -> [(signature, target, relay, bound signal)]


def connect(self, signature, target, slot=None):
    """Connect a signal to a callable, a signal, or the named slot of another object; surplus arguments are dropped."""
    target = _resolve(target, slot)
    signal, count = _signal(self, signature)
    call = target.emit if type(target).__name__ == "SignalInstance" else target

    def relay(*arguments):
        try:
            return call(*arguments[: _accepted(target, len(arguments))])
        except Exception:
            slotFailed()

    relay = _withArity(relay, count)
    signal.connect(relay)
    _connections.setdefault(self, []).append((signature.replace(" ", ""), target, relay, signal))
    return True


def disconnect(self, signature=None, target=None, slot=None):
    """Take back connections that match what is given; True where there was one."""
    target = _resolve(target, slot)
    connections = _connections.get(self, [])
    matching = [
        each
        for each in connections
        if (signature is None or each[0] == signature.replace(" ", "")) and (target is None or each[1] == target)
    ]
    for each in matching:
        each[3].disconnect(each[2])
        connections.remove(each)
    return bool(matching)


class OnClassAndInstance:
    """`obj.connect("sig()", f)` on objects, `QObject.connect(obj, "sig()", f)` on classes."""

    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        return self.function if instance is None else types.MethodType(self.function, instance)


def redirectLookup(cls):
    """PySide6's attribute lookup answers connect and disconnect itself on some classes: ours goes first."""
    lookup = cls.__dict__["__getattribute__"]

    def lookUp(self, name):
        if name == "connect":
            return types.MethodType(connect, self)
        if name == "disconnect":
            return types.MethodType(disconnect, self)
        return lookup(self, name)

    cls.__getattribute__ = lookUp


def _resolve(target, slot):
    if isinstance(target, QtCore.QObject) and isinstance(slot, str):
        return getattr(target, re.match(r"[12]?(\w+)", slot).group(1))
    return target


def _signal(sender, signature):
    """The bound signal, and how many arguments the signature names (None where it names no list)."""
    parts = re.match(r"\s*[12]?(\w+)\s*(?:\((.*)\))?\s*$", signature)
    if not parts or getattr(type(sender), parts[1], None) is None:
        raise ValueError(f"{type(sender).__name__} has no signal {signature}")
    listed = parts[2]
    count = None if listed is None else listed.count(",") + 1 if listed.strip() else 0
    return getattr(sender, parts[1]), count


def _accepted(target, offered):
    """How many of the offered positional arguments PythonQt passes on."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return offered
    if any(each.kind == each.VAR_POSITIONAL for each in parameters):
        return offered
    return min(offered, sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters))


def _withArity(relay, count):
    """PySide6 picks the overload by the slot's parameters: a `*arguments` slot gets clicked(), not clicked(bool)."""
    fixed = {0: lambda: relay(), 1: lambda a: relay(a), 2: lambda a, b: relay(a, b), 3: lambda a, b, c: relay(a, b, c)}
    return fixed.get(count, relay)
