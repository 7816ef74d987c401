"""Cards and recipes are parsed by one function; each mistake is named with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from leanseg.errors import LeanSegError, UnknownNameError
from leanseg.schema import parse


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError("sizes must be positive.")


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner | None = None
    free: dict[str, Any] = field(default_factory=dict)


def test_nested_values_become_dataclasses() -> None:
    values = {"rate": 1, "inner": {"size": [2, 3], "names": ["a"]}, "free": {"x": [1, None]}}
    assert parse(Outer, values, "outer") == Outer(1.0, Inner((2, 3), ("a",)), {"x": [1, None]})
    assert parse(Outer, {"rate": 0.5, "inner": None}, "outer") == Outer(0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "outer lacks rate."),
        ([], "outer must be a section; got []."),
        ({"rate": True}, "outer.rate must be float; got True."),
        ({"rate": 1, "inner": {"size": [2]}}, "outer.inner.size must be tuple[int, int]; got [2]."),
        ({"rate": 1, "inner": {"size": [2, "3"]}}, "outer.inner.size must be int; got '3'."),
        ({"rate": 1, "inner": {"size": [2, 0]}}, "outer.inner: sizes must be positive."),
        ({"rate": 1, "free": 3}, "outer.free must be dict[str, Any]; got 3."),
    ],
)
def test_a_mistake_is_named_with_its_place(values: Any, message: str) -> None:
    with pytest.raises(LeanSegError) as caught:
        parse(Outer, values, "outer")
    assert str(caught.value) == message


def test_an_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no key in outer named 'rat'\. Did you mean 'rate'"):
        parse(Outer, {"rat": 1}, "outer")
