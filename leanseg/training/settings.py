"""Values of a recipe as they are set on the command line: `--set key=value`, with the value in TOML."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from leanseg.errors import LeanSegError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def assign(values: dict[str, Any], settings: Iterable[str]) -> None:
    """Change nested values in place, by `section.key=value`.

    Raises:
        LeanSegError: a setting without value, or a key below one.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise LeanSegError(f"--set needs key=value; got {setting!r}.")
        _assign(values, key.split("."), _toml_value(text))


def _toml_value(text: str) -> Any:
    """`3`, `true`, `[1, 2]` as TOML reads them; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise LeanSegError(f"--set: {key!r} is a value, not a section.")
    values[keys[-1]] = value
