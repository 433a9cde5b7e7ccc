"""Settings: checked once, when they are made, with errors that name the setting, its value and what is allowed."""

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

from pydantic import ConfigDict, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass

from glint_label.errors import UsageError
from glint_label.storage import is_stored, is_url, place_of

Settings = TypeVar("Settings")

# pydantic's kinds of errors in our words; {...} is filled with the bound or the allowed values.
_WORDS = {
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le}",
    "bool": "true or false",
    "finite_number": "a number",
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "path": "a path",
    "tuple": "a list",
    "missing": "a longer list",
    "too_long": "a shorter list",
}

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


def _find_place(value: Any, check: Callable[[Any], Any]) -> Any:
    return place_of(value) if is_stored(value) or is_url(str(value)) else check(value)


# A path, or an address in an object store; see `storage.place_of`.
Place = Annotated[Path, WrapValidator(_find_place)]


@dataclass_transform(frozen_default=True)
def settings(flags: Collection[str] | None = None) -> Callable[[type[Settings]], type[Settings]]:
    """Make a frozen dataclass whose fields are checked by their annotations; a text such as YAML's `1e-4` is a number.

    Args:
        flags: Settings that are given on the command line, which errors name as people type them; None for all.

    Raises:
        UsageError: When one is made with an unknown name or a value that does not fit.
    """

    def decorate(cls: type[Settings]) -> type[Settings]:
        made: Any = dataclass(frozen=True, config=_CONFIG)(cls)
        check: Callable[..., None] = made.__init__
        kinds = get_type_hints(cls)

        def name_of(setting: str) -> str:
            return f"--{setting.replace('_', '-')}" if flags is None or setting in flags else setting

        def init(self: Any, **values: Any) -> None:
            if unknown := sorted(set(values) - set(kinds)):
                raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(kinds)}")
            for setting, value in values.items():
                if isinstance(value, bool) != (kinds[setting] is bool):
                    allowed = "true or false" if kinds[setting] is bool else "something other than true or false"
                    raise UsageError(f"{name_of(setting)} {_plain(value)}: must be {allowed}")
                if isinstance(value, list | tuple) and any(isinstance(entry, bool) for entry in value):
                    raise UsageError(f"{name_of(setting)} {_plain(value)}: must hold no true or false")
            try:
                check(self, **values)
            except ValidationError as error:
                first = error.errors()[0]
                if isinstance(cause := first.get("ctx", {}).get("error"), UsageError):
                    raise cause from None
                setting = str(first["loc"][0]) if first["loc"] else cls.__name__
                raise UsageError(f"{name_of(setting)} {_plain(first['input'])}: must be {_allowed(first)}") from error

        made.__init__ = init
        checked: type[Settings] = made
        return checked

    return decorate


def _allowed(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind == "literal_error":
        return f"one of {error['ctx']['expected'].replace(' or ', ', ')}".replace("'", "")
    words = _WORDS.get(kind) or _WORDS.get(kind.partition("_")[0])
    return words.format(**error.get("ctx", {})) if words else str(error["msg"])


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _short(value)


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
