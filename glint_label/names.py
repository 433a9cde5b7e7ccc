"""File names as text: whatever a file system can hold becomes one line of UTF-8, and comes back."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import overload

from glint_label.errors import InputError
from glint_label.storage import Stored

# Control characters and line breaks, which tables and terminals trip over; bytes that are no UTF-8, which Python
# reads as surrogates; and the backslash, so that the way back is clear.
_ODD = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_NAME, _LONGEST_PATH = 255, 4000  # bytes, on every usual file system
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def as_text(path: "str | PurePath | Stored") -> str:
    r"""Write a path with forward slashes; odd characters become \xNN, one for each of their bytes.

    The same path gives the same text, another one another text; ordinary names stay as they are.
    """
    text = path if isinstance(path, str) else path.as_posix()
    return _ODD.sub(lambda odd: "".join(f"\\x{byte:02x}" for byte in os.fsencode(odd[0])), text)


def from_text(text: str) -> str:
    """Read what `as_text` wrote.

    Raises:
        InputError: It could not have written that.
    """
    path = os.fsdecode(_ESCAPED.sub(lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(text)))
    if as_text(path) != text:
        raise InputError(f"{as_text(text)}: no name of a file as it stands in a table; a backslash there is \\x5c")
    return path


def is_too_long(path: PurePath) -> bool:
    """Tell whether a path is longer than any file's: to ask a disk for it would be an error, not a no."""
    return len(os.fsencode(path)) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts)


class Below(Sequence[Path]):
    """Files below a folder, each made of its name when it is asked for: a million paths would take half a gigabyte.

    Args:
        root: The folder.
        names: As `as_text` writes them.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = root
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> "Below": ...
    def __getitem__(self, place: int | slice) -> "Path | Below":
        if isinstance(place, slice):
            return Below(self._root, self._names[place])
        return self._root / from_text(self._names[place])


def guarded(name: str) -> str:
    """Keep a spreadsheet from taking a name, as `as_text` writes it, for a formula: `./` goes before one like that.

    As a path it is the same: `Path("./=1+1.png") == Path("=1+1.png")`.
    """
    return f"./{name}" if name.startswith(("=", "+", "-", "@")) else name


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """Name a file in UTF-8 while the block lasts, for libraries that open no other name.

    Raises:
        OSError: It cannot be opened.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/dev/fd/{file.fileno()}")
    else:
        yield path
