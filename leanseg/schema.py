"""Plain values (JSON, TOML) as typed dataclasses: the schema of cards and recipes is their annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from leanseg.errors import LeanSegError, UnknownNameError


def parse(kind: Any, value: Any, where: str, complete: bool = False) -> Any:
    """`value` as the annotated type `kind`: a dataclass, or what its fields hold.

    `where` says in errors which value is meant, e.g. `recipe.optimizer`. `complete` asks for every key, also those
    that have a default.

    Raises:
        UnknownNameError: a key that the dataclass does not have; the nearest is suggested.
        LeanSegError: a missing key, or a value of the wrong type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # only `X | None` occurs
        return None if value is None else parse(arguments[0], value, where, complete)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parse_dataclass(kind, value, where, complete)
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            return tuple(parse(k, v, where, complete) for k, v in zip(kinds, value, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {key: parse(arguments[1], item, f"{where}.{key}", complete) for key, item in value.items()}
    elif kind is Any:
        return value
    elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    needed = kind.__name__ if isinstance(kind, type) and not arguments else str(kind).replace("typing.", "")
    raise LeanSegError(f"{where} must be {needed}; got {value!r}.")


def _parse_dataclass(kind: type, value: Any, where: str, complete: bool) -> Any:
    if not isinstance(value, dict):
        raise LeanSegError(f"{where} must be a section; got {value!r}.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise UnknownNameError(f"key in {where}", key, fields)
    no_default = (dataclasses.MISSING, dataclasses.MISSING)
    needed = [n for n, f in fields.items() if complete or (f.default, f.default_factory) == no_default]
    missing = [name for name in needed if name not in value]
    if missing:
        raise LeanSegError(f"{where} lacks {', '.join(missing)}.")
    try:
        return kind(**{key: parse(hints[key], item, f"{where}.{key}", complete) for key, item in value.items()})
    except ValueError as error:  # a dataclass that refuses a value in its __post_init__
        raise LeanSegError(f"{where}: {error}") from error
