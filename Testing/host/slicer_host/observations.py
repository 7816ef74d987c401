"""Observers that stand-ins put on VTK objects; they end with their widget, as those of Slicer's C++ classes do."""

import weakref

import shiboken6


class Observations:
    """A widget's observers on one or more VTK objects, which are removed together."""

    def __init__(self):
        self._tags = []

    def add(self, observed, event, method):
        """Call a bound method of a widget as method(caller, event) for as long as the widget lives."""
        weak = weakref.WeakMethod(method)

        def observer(caller, name):
            alive = weak()
            if alive is not None and shiboken6.isValid(alive.__self__):
                alive(caller, name)
            else:
                self.clear()

        self._tags.append((observed, observed.AddObserver(event, observer)))

    def clear(self):
        """Remove all of them."""
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []
