"""Parameters and widgets of a panel or section follow each other, but not in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Updating:
    """Base of what has widgets that follow parameters."""

    isUpdating = False
    """Whether the widgets change because of the parameters, not because of a person"""

    @contextmanager
    def updating(self) -> Iterator[None]:
        """What the widgets signal inside is no choice of a person."""
        self.isUpdating, before = True, self.isUpdating
        try:
            yield
        finally:
            self.isUpdating = before
