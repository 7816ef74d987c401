"""PythonQt's properties on PySide6: every Q_PROPERTY is an attribute, and a C++ object takes no other attributes.

In PythonQt `label.text` reads the property, `label.text = "x"` and `label.setText("x")` write it. A property hides
the getter of its name. PySide6's own `true_property` feature is no help: it removes the setters.
"""

from PySide6 import QtCore, QtGui, QtNetwork, QtUiTools, QtWidgets
from slicer_host.record import notModeled

QT_MODULES = (QtCore, QtGui, QtWidgets, QtNetwork, QtUiTools)

_originals: dict = {}  # (class, name) -> what was there before a property hid it
_enums: dict = {}  # C++ name of an enum -> its Python class, or None
_setters: dict = {}  # id(QtCore.Property) -> (setter, the property, to keep the id unique)
_shibokenSetattr = QtCore.QObject.__base__.__dict__["__setattr__"]


class QtPropertyAttribute:
    """One Q_PROPERTY of a Qt class as an attribute; on the class itself it gives what it hides (QTimer.singleShot)."""

    def __init__(self, name, getter, setter, hidden, enum, cppType):
        self.name, self.getter, self.setter, self.hidden, self.enum = name, getter, setter, hidden, enum
        self.convert = _CONVERSIONS.get(cppType)

    def __get__(self, instance, owner=None):
        if instance is not None:
            return self.getter(instance)
        if self.hidden is None:
            raise AttributeError(self.name)
        return self.hidden

    def __set__(self, instance, value):
        kind = type(instance).__name__
        if self.setter is None:
            raise AttributeError(f"Property '{self.name}' of {kind} object is not writable")
        try:
            if self.enum is not None and isinstance(value, int):
                value = self.enum(value)
            elif self.convert is not None:
                value = self.convert(value)
            self.setter(instance, value)
        except (TypeError, ValueError):
            message = (
                f"Property '{self.name}' of {kind} object does not accept {value!r} of type {type(value).__name__}"
            )
            raise AttributeError(message) from None


def _number(kind):
    def convert(value):
        if isinstance(value, str):  # PythonQt parses no numbers
            raise TypeError
        return kind(value)

    return convert


# What PythonQt's QVariant conversion accepts.
_CONVERSIONS = {
    "bool": bool,
    "QString": str,
    "QStringList": lambda values: [str(value) for value in values],
    "int": _number(int),
    "uint": _number(int),
    "double": _number(float),
    "float": _number(float),
}


def qtProperty(kind, getter, setter=None):
    """A Qt property for a stand-in: Designer files, setProperty() and plain attribute access all reach it."""
    declared = QtCore.Property(kind, getter, setter)
    _setters[id(declared)] = (setter, declared)
    return declared


def storedProperty(kind, name, default=None, changed=None):
    """A Qt property that keeps its value; `changed` names the method to call with each new value."""
    slot = "_" + name

    def getter(self):
        return self.__dict__.get(slot, default)

    def setter(self, value):
        self.__dict__[slot] = value
        if changed:
            getattr(self, changed)(value)

    return qtProperty(kind, getter, setter)


def original(cls, name):
    """The attribute of that name along the inheritance as PySide6 defines it, or None."""
    for base in cls.__mro__:
        if (base, name) in _originals:
            return _originals[(base, name)]
        value = base.__dict__.get(name)
        if value is not None and not isinstance(value, QtPropertyAttribute):
            return value
    return None


def addProperties(cls):
    """Put an attribute for each Q_PROPERTY on a PySide6 class, its bases first."""
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        declared = meta.property(index)
        name = declared.name()
        own = cls.__dict__.get(name)
        inherited = index < meta.propertyOffset() and (own is None or isinstance(own, QtPropertyAttribute))
        if inherited or type(own).__name__ == "Signal":
            continue
        if own is not None:
            _originals[(cls, name)] = own
        hidden = own if own is not None else original(cls, name)
        hidden = hidden.__func__ if isinstance(hidden, staticmethod) else hidden
        getter, setter = _accessors(cls, declared)
        enum = _enumClass(declared.typeName()) if declared.isEnumType() or declared.isFlagType() else None
        setattr(cls, name, QtPropertyAttribute(name, getter, setter, hidden, enum, declared.typeName()))


def _accessors(cls, declared):
    name = declared.name()
    capital = name[0].upper() + name[1:]
    names = ["isSingleShot"] if name == "singleShot" else [name, "is" + capital, "has" + capital]
    getter = next((found for found in (original(cls, each) for each in names) if found is not None), None)
    setter = original(cls, "set" + capital)
    if getter is None:

        def getter(self):
            return QtCore.QObject.property(self, name)

    if setter is None and declared.isWritable():

        def setter(self, value):
            QtCore.QObject.setProperty(self, name, value)

    return _bound(getter), _bound(setter)


def _bound(function):
    """Static functions of the application class are called with the instance, as the others are."""
    if isinstance(function, staticmethod):
        function = function.__func__
    elif type(function).__name__ != "builtin_function_or_method":
        return function
    return lambda self, *values: function(*values)


def _enumClass(cppName):
    if cppName not in _enums:
        scope, _, name = cppName.removeprefix("QFlags<").rstrip(">").partition("::")
        owners = [getattr(module, scope) for module in QT_MODULES if hasattr(module, scope)]
        found = next((getattr(owner, each, None) for owner in owners for each in (name, name.rstrip("s"))), None)
        _enums[cppName] = found if isinstance(found, type) else None
    return _enums[cppName]


def isCppClass(cls):
    """True for Qt's own classes and for the stand-ins of C++ classes; False for classes that a script derives."""
    return cls.__module__.startswith("PySide6") or "standsForCpp" in cls.__dict__


def isStandIn(qobject):
    """True where an object is of a stand-in's class, or of one that a script derives from it."""
    return "standsForCpp" in next(cls for cls in type(qobject).__mro__ if isCppClass(cls)).__dict__


def setAttribute(self, name, value):
    """`__setattr__` of every QObject: properties are set; a C++ object refuses a new attribute, as in PythonQt."""
    cls = type(self)
    if type(value).__name__ == "SignalInstance":  # PySide6 caches bound signals on the object
        return _shibokenSetattr(self, name, value)
    declared = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    if type(declared) is QtCore.Property:
        setter, _ = _setters[id(declared)]
        if setter is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
        return setter(self, value)
    if declared is not None and hasattr(type(declared), "__set__"):
        return declared.__set__(self, value)
    if name == "name":
        return self.setObjectName(str(value))
    if isCppClass(cls) and not (name.startswith("_") and "standsForCpp" in cls.__dict__):
        if name in dynamicProperties(self):
            QtCore.QObject.setProperty(self, name, value)
            return None
        if declared is not None:
            raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
        if isStandIn(self):
            notModeled(cls.__name__, name)
        raise AttributeError(f"{cls.__name__} has no '{name}', and a C++ object takes no new attributes")
    return _shibokenSetattr(self, name, value)


def dynamicProperties(qobject):
    """Names of the properties that setProperty() or a Designer file added to the object."""
    return [bytes(name.data()).decode() for name in qobject.dynamicPropertyNames()]
