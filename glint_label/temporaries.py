"""Files that are half written: their names, how they say that they cannot grow, which of them were left behind."""

import hashlib
import io
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from glint_label.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Tell = Callable[[OSError], OutputError]

_ENDING = ".glint-tmp"
_MADE_BY = re.compile(rf".+\.([0-9a-f]{{6}})-\d+-[0-9a-f]{{6}}{re.escape(_ENDING)}")
_FORGOTTEN = 3600.0  # seconds since another machine wrote to a file; then it was killed


def temporary_of(path: Path) -> Path:
    """Name what a file is called until it is whole; no other process has the name, on whatever machine."""
    return path.with_name(f".{path.name}.{_this_machine()}-{os.getpid()}-{secrets.token_hex(3)}{_ENDING}")


def system_folder() -> str:
    """Name the system's folder of temporary files; on a full disk there is none that can be used, and asking fails."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "TMPDIR")


@contextmanager
def telling(tell: Tell) -> Iterator[None]:
    """Turn what the system says into an OutputError, unless it is one, which says more already."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise tell(error) from error


def open_telling(path: Path, mode: str, tell: Tell) -> io.BufferedWriter:
    """Open a file that raises an OutputError of its own where it cannot be written.

    Who writes it may have other files open: nobody else can know which of them it is that the system speaks of.

    Args:
        path: The file.
        mode: `xb` or `wb`.
        tell: Makes the OutputError.
    """
    with telling(tell):
        return io.BufferedWriter(_Telling(path, mode, tell))


class _Telling(io.FileIO):
    """What lies below the buffer."""

    def __init__(self, path: Path, mode: str, tell: Tell) -> None:
        super().__init__(path, mode)
        self._tell = tell

    def write(self, content: "ReadableBuffer") -> int:
        with telling(self._tell):
            return super().write(content)


def is_temporary(name: str) -> bool:
    """Tell whether a name is one of a half-written file."""
    return name.startswith(".") and name.endswith(_ENDING)


def is_left_behind(path: Path) -> bool:
    """Tell whether nobody writes a file any more, as far as this machine knows.

    To be asked by who holds the lock of the folder: it keeps out the processes of this machine, and those of others
    only where the file server passes it on.
    """
    made_by = _MADE_BY.fullmatch(path.name)
    if made_by is None or made_by[1] == _this_machine():
        return True
    try:
        return time.time() - path.stat().st_mtime > _FORGOTTEN
    except OSError:  # it has got its name
        return False


@cache
def _this_machine() -> str:
    """Abbreviate this machine's name: of those that share a folder, two may have processes of one number."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
