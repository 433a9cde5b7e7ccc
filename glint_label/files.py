"""Files that are whole where they exist, whatever kills the program."""

import errno
import hashlib
import io
import json
import lzma
import os
import re
import stat
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import OutputError, StateError, StorageError
from glint_label.storage import Stored, is_stored
from glint_label.temporaries import open_telling, system_folder, telling, temporary_of

# What a network file system says of itself, not of a file.
_NO_ANSWER = {
    getattr(errno, name)
    for name in (
        "ESTALE",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOTCONN",
    )
    if hasattr(errno, name)
}
# What reading a damaged .npz raises; MemoryError where it says that its arrays are larger than any memory.
_NO_ARRAYS = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, SyntaxError, RuntimeError, MemoryError),
    *(BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)


@contextmanager
def open_atomic(path: Path, option: str = "--out") -> Iterator[BinaryIO]:
    """Open a temporary name in the same folder for writing; when the block is left, fsync and rename.

    In an object store, write to a file on this machine and upload that. Nothing is left behind where the block raises.

    Args:
        path: Its folder is made if need be.
        option: Names where the path comes from, for the errors.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
        StorageError: The object store cannot be used.
    """
    if is_stored(path):
        with path.open_upload() as file:
            yield file
        return
    tell = partial(_cannot_write, path, option)
    temporary = temporary_of(path)
    with telling(tell):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        file = open_telling(temporary, "xb", tell)  # never through a link that somebody put there
    try:
        with file:
            yield file
            with telling(tell):
                file.flush()
                os.fsync(file.fileno())
        with telling(tell):
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, content: bytes | str | Iterable[str], option: str = "--out") -> None:
    """Write a whole file by `open_atomic`.

    Args:
        path: Its folder is made if need be.
        content: Bytes, text, or pieces of text that need not fit into memory together.
        option: Names where the path comes from, for the errors.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
        StorageError: The object store cannot be used.
    """
    if is_stored(path) and isinstance(content, bytes | str):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    with open_atomic(path, option) as file:
        for piece in [content] if isinstance(content, bytes | str) else content:
            file.write(piece.encode() if isinstance(piece, str) else piece)


def format_json(content: object) -> str:
    """Write JSON with a line a value; text that is no UTF-8, as paths can hold, comes back from it unchanged."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"


def append_text(path: Path, text: str) -> None:
    """Append to a file in one call to the system; its folder is made if need be.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    with telling(partial(_cannot_write, path, "--out")):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(text.encode())


def write_arrays(path: Path, *, compressed: bool = False, **arrays: NDArray[Any]) -> None:
    """Write arrays by name as .npz; the same arrays give the same bytes.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def read_arrays(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """Read arrays by name from an .npz, never unpickling.

    Raises:
        StateError: The file is missing or damaged, or lacks one of them.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return tuple(arrays[name] for name in names)
    except _NO_ARRAYS as error:
        raise StateError(f"{path}: not an .npz file with plain arrays {', '.join(names)} ({error})") from error


class SpooledRows:
    """Rows of numbers that go to the disk as they come and are then read like an array."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shape = (0, 0)

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add (n, d) rows."""
        try:
            self._file.write(rows.astype(np.float32, copy=False).tobytes())
        except OSError as error:
            raise _no_room(error) from error
        self._shape = (self._shape[0] + len(rows), rows.shape[1])

    def rows(self) -> NDArray[np.float32]:
        """Give all rows, (n, d); they are read from the disk where they are looked at."""
        try:
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        return np.memmap(self._file, dtype=np.float32, mode="r", shape=self._shape)


@contextmanager
def spooled_rows() -> Iterator[SpooledRows]:
    """Make room for rows in a file without a name: it goes when the block is left or the program dies.

    Raises:
        OutputError: The temporary folder is full or cannot be written.
    """
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the block below closes it; only opening can lack room)
    except OSError as error:
        raise _no_room(error) from error
    with file:
        yield SpooledRows(file)


def _no_room(error: OSError) -> OutputError:
    return OutputError(
        f"{system_folder()}: vectors cannot wait here while near-duplicates are searched ({error.strerror}); "
        "free some space, or set TMPDIR to a folder that has some, then run the same command again"
    )


def make_folder(path: Path, option: str = "--out") -> None:
    """Make a folder and those above it; `option` names another one, for the errors.

    Raises:
        OutputError: It cannot be made, or a file stands in its place.
    """
    with telling(partial(_cannot_write, path, option)):
        path.mkdir(parents=True, exist_ok=True)


def _cannot_write(path: Path, option: str, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror}); "
        f"free some space or choose another {option}, then run the same command again"
    )


def read_json(path: Path) -> Any:
    """Read a JSON file, whoever wrote it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or nested deeper than anything that we write.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def open_regular(path: Path) -> io.BufferedReader | io.BytesIO:
    """Open a regular file, or a link to one, for reading; never wait for a pipe or wake a device.

    Raises:
        OSError: It is something else, or cannot be opened.
        StorageError: The object store cannot be used.
    """
    if is_stored(path):
        return io.BytesIO(path.read_bytes())
    _check_regular(path, path.stat().st_mode)  # before it is opened: opening alone does something to a device
    # Whatever takes its place in between does not block.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_limited(path: Path, limit: int) -> tuple[bytes, int]:
    """Read a regular file, if it is not too large.

    Returns:
        Its bytes, or nothing where there are more than `limit`; and how many it has.

    Raises:
        OSError: It is something else, or cannot be opened.
        StorageError: The object store cannot be used, or a file server does not answer.
    """
    if is_stored(path):
        content = path.read_bytes(limit + 1)
        return (content, len(content)) if len(content) <= limit else (b"", path.stat().st_size)
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            return (file.read(limit) if length <= limit else b""), length  # one that grows meanwhile has an end too
    except OSError as error:
        if error.errno in _NO_ANSWER:
            raise StorageError(
                f"{path}: the file server does not answer ({error.strerror}); run the same command again when it does"
            ) from error
        raise


def absent_files(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """List those of some paths below a folder that are no files; an object store is asked for all of them together.

    Raises:
        StorageError: The object store cannot be used.
    """
    if not is_stored(folder) or not paths:
        return [path for path in paths if not path.is_file()]
    names = [cast("Stored", path).relative_to(folder).as_posix() for path in paths]
    there = folder.sizes(prefix=os.path.commonprefix(names))  # noqa: RUF071 (of texts)
    return [path for path, name in zip(paths, names, strict=True) if name not in there]


def sha256_of(path: Path) -> str:
    """Hash a regular file's bytes; hex.

    Raises:
        OSError: It cannot be read, or is a pipe or a device.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
