"""Writing files so that a file that exists is whole, whatever kills the program."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from glint_label.errors import OutputError

_TEMPORARY = ".glint-tmp"


def write_atomic(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write to a temporary name in the same folder, fsync, rename.

    Args:
        path: Its folder is made if need be.
        content: Bytes, text, or pieces of text that need not fit into memory together.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    pieces = [content] if isinstance(content, bytes | str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                for piece in pieces:
                    file.write(piece.encode() if isinstance(piece, str) else piece)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: It cannot be made, or a file stands in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror}); what is finished is kept: "
        "make room or choose another --out, then run the same command again"
    )


def is_temporary(path: Path) -> bool:
    """Tell whether a file is what a killed run left half written."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed run left half written below a folder."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hash a file's bytes; hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
