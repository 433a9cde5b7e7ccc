"""Settings: checked once, when they are made, with errors that name the setting, its value and what is allowed."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from glint_label.errors import UsageError

Settings = TypeVar("Settings")


@dataclass_transform(frozen_default=True)
def settings(cls: type[Settings]) -> type[Settings]:
    """Make a frozen dataclass whose fields are checked by their annotations; YAML's `1e-4`, a text, is a number too.

    Raises:
        UsageError: When one is made with an unknown name or a value that does not fit.
    """
    made: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))(cls)
    check: Callable[..., None] = made.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            check(self, *args, **kwargs)
        except ValidationError as error:
            raise UsageError(_explain(error, cls)) from error

    made.__init__ = init
    checked: type[Settings] = made
    return checked


def option(name: str) -> str:
    """Write a setting's name as people give it on the command line."""
    return f"--{name.replace('_', '-')}"


def _explain(error: ValidationError, cls: type) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    name = option(place[0]) if place else cls.__name__
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = ", ".join(cls.__dataclass_fields__) if hasattr(cls, "__dataclass_fields__") else ""
        return f"unknown setting {place[0]!r}; known are {known}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    return f"{name} {_short(first['input'])}: must be {reason}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say in words which settings differ: `k: 10 -> 5`."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {_short(before)} -> {_short(after)}")
    return lines


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"
