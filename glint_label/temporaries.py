"""Names of files that are half written, and which of them a killed process has left behind."""

import hashlib
import os
import re
import secrets
import socket
import time
from functools import cache
from pathlib import Path

_ENDING = ".glint-tmp"
_MADE_BY = re.compile(rf".+\.([0-9a-f]{{6}})-\d+-[0-9a-f]{{6}}{re.escape(_ENDING)}")
_FORGOTTEN = 3600.0  # seconds since another machine wrote to a file; then it was killed


def temporary_of(path: Path) -> Path:
    """Name what a file is called until it is whole; no other process has the name, on whatever machine."""
    return path.with_name(f".{path.name}.{_this_machine()}-{os.getpid()}-{secrets.token_hex(3)}{_ENDING}")


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
