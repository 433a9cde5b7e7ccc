"""Files that are whole where they exist, whatever kills the program, in folders that one process writes at a time."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from glint_label.errors import OutputError, StateError

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


@contextmanager
def lock_folder(out: Path, what: str) -> Iterator[None]:
    """Make a folder if need be and keep other processes out, until the block is left or this one dies.

    Args:
        out: The folder.
        what: Who writes there, for the error: `build`, `training run`.

    Raises:
        StateError: Another one is writing there.
        OutputError: The folder cannot be written.
    """
    make_folder(out)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StateError(f"{out}: another {what} is writing here; wait for it or choose another --out") from error
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        yield
    finally:
        lock.release()


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
