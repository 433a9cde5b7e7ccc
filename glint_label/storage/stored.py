"""A folder or a file in an object store, with the methods of `pathlib.Path` that this program uses.

An object store has no folders, no rename and no lock; one upload is whole or is not there. What the store says about a
single object becomes the OSError that a disk would give. What makes the store itself unusable (no credentials, no such
bucket, no connection) becomes a StorageError, which is no OSError: a job must end by it, not take every photo that is
left for a broken one.
"""

import errno
import importlib
import io
import os
import posixpath
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, BinaryIO, NamedTuple, Self, TypeVar, cast

from glint_label.errors import OutputError, StorageError, UsageError
from glint_label.temporaries import open_telling, system_folder, telling

Result = TypeVar("Result")

# Scheme -> the library that speaks it, which is the name of the extra's package, and how it is told who asks.
STORES = {
    "s3": ("s3fs", "s3", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
    "gs": ("gcsfs", "gs", "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"),
}
# What S3 says of an object that is there and cannot be read now: it lies in an archive.
_ARCHIVED = "InvalidObjectState"


class ObjectStat(NamedTuple):
    """Of an object or a folder, what of `os.stat_result` is known."""

    st_size: int
    st_mtime_ns: int
    st_mode: int


class Stored:
    """A file or a folder in an object store. A folder is there where an object lies below it.

    It is no `os.PathLike`: a function that knows disks alone refuses it, rather than make a folder called `s3:`.

    Args:
        scheme: `s3` or `gs`.
        key: /BUCKET/KEY.
    """

    __slots__ = ("_key", "_scheme")

    def __init__(self, scheme: str, key: PurePosixPath) -> None:
        self._scheme = scheme
        self._key = key

    def __reduce__(self) -> tuple[type["Stored"], tuple[str, PurePosixPath]]:
        return Stored, (self._scheme, self._key)

    def __str__(self) -> str:
        return f"{self._scheme}:/{self._key}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stored) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: "Stored") -> bool:
        return (self._scheme, self._key) < (other._scheme, other._key)

    # Names. What a name says is never looked up.

    def _at(self, key: PurePosixPath) -> Self:
        return type(self)(self._scheme, key)

    def __truediv__(self, name: str | PurePath) -> Self:
        return self._at(self._key / (name.as_posix() if isinstance(name, PurePath) else name))

    def as_posix(self) -> str:
        """Write it as an address."""
        return str(self)

    @property
    def name(self) -> str:
        """The last part; empty for a bucket."""
        return self._key.name if len(self._key.parts) > 2 else ""

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The ending, with its point."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Self:
        """The folder; of a bucket, itself."""
        return self._at(self._key.parent) if len(self._key.parts) > 2 else self

    @property
    def parents(self) -> tuple[Self, ...]:
        """All folders above, up to the bucket."""
        return tuple(self._at(key) for key in list(self._key.parents)[:-1])

    def with_name(self, name: str) -> Self:
        """Name another file in the same folder."""
        return self._at(self._key.with_name(name))

    def with_suffix(self, suffix: str) -> Self:
        """Exchange the ending."""
        return self._at(self._key.with_suffix(suffix))

    def is_relative_to(self, other: object) -> bool:
        """Tell whether it is the other one or lies below it."""
        same = isinstance(other, Stored) and self._scheme == other._scheme
        return same and self._key.is_relative_to(cast("Stored", other)._key)

    def relative_to(self, other: "Stored") -> PurePosixPath:
        """Give its path below another one.

        Raises:
            ValueError: It does not lie there.
        """
        if not self.is_relative_to(other):
            raise ValueError(f"{self} does not lie below {other}")
        return self._key.relative_to(other._key)

    def resolve(self) -> Self:
        """Take `..` out; there are no links."""
        return self._at(PurePosixPath(posixpath.normpath(self._key)))

    # What is there.

    def _ask(self, question: Callable[[Any, str], Result], *, writes: bool = False) -> Result:
        """Ask the store; its answers become what a disk would say, its own troubles a StorageError.

        Args:
            question: Asks it, given the connection and the path there.
            writes: It makes an object, for which nothing can be missing but the bucket.
        """
        try:
            return question(_connect(self._scheme, os.getpid()), self._inside)
        except FileNotFoundError as error:
            if writes or _code_of(error) == "NoSuchBucket":
                raise StorageError(f"{self}: there is no such bucket; create it, or correct the address") from error
            raise FileNotFoundError(errno.ENOENT, "No such file or folder", str(self)) from error
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise type(error)(errno.EEXIST, "Is there already", str(self)) from error
        except PermissionError as error:
            if _code_of(error) == _ARCHIVED:
                raise OSError(errno.EIO, "lies in an archive; restore it first", str(self)) from error
            reason = _words(error)
            raise StorageError(f"{self}: access denied ({reason}); check the credentials and their rights") from error
        except StorageError:
            raise
        except Exception as error:
            # The libraries have no common base: botocore, aiohttp, google.auth each raise their own.
            raise StorageError(self._trouble(error)) from error

    def _trouble(self, error: Exception) -> str:
        kind = type(error).__name__
        if "Credentials" in kind:
            return f"{self}: no credentials were found; {STORES[self._scheme][2]}"
        if "Connect" in kind or "Timeout" in kind:
            setting = ", and AWS_ENDPOINT_URL if that is set" if self._scheme == "s3" else ""
            return (
                f"{self}: the store does not answer ({_words(error)}); check the connection{setting}, then try again"
            )
        return f"{self}: the store failed ({kind}: {_words(error)}); run the same command again"

    @property
    def _inside(self) -> str:
        return str(self._key)[1:]

    def _info(self) -> ObjectStat | None:
        try:
            return self.stat()
        except FileNotFoundError:
            return None

    def stat(self) -> ObjectStat:
        """Look at an object, or at a folder.

        Raises:
            FileNotFoundError: There is neither.
        """
        info = self._ask(lambda store, path: store.info(path))
        changed = info.get("LastModified") or info.get("mtime")
        kind = stat.S_IFDIR if info["type"] == "directory" else stat.S_IFREG
        return ObjectStat(int(info.get("size") or 0), int(changed.timestamp() * 1e9) if changed else 0, kind)

    def exists(self) -> bool:
        """Tell whether it is a file or a folder."""
        return self._info() is not None

    def is_file(self) -> bool:
        """Tell whether it is an object."""
        info = self._info()
        return info is not None and stat.S_ISREG(info.st_mode)

    def is_dir(self) -> bool:
        """Tell whether an object lies below it."""
        info = self._info()
        return info is not None and stat.S_ISDIR(info.st_mode)

    def is_symlink(self) -> bool:
        """Tell whether it is a link: never."""
        return False

    def iterdir(self) -> Iterator[Self]:
        """List what lies in a folder.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        names = self._ask(lambda store, path: store.ls(path, detail=False, refresh=True))
        inside = {PurePosixPath(f"/{name}") for name in names}
        return iter([self._at(key) for key in sorted(inside) if key.parent == self._key])

    def glob(self, pattern: str) -> Iterator[Self]:
        """List what lies in a folder under names that fit a pattern; empty where there is no folder."""
        try:
            return iter([path for path in self.iterdir() if fnmatchcase(path.name, pattern)])
        except FileNotFoundError:
            return iter(())

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """List the objects whose path below this folder begins with a prefix: path -> bytes; one request a thousand.

        Objects that no path can name are among them: those with `//` or `..`, and the empty ones called `FOLDER/`,
        which some programs make.
        """
        root = self._inside + "/"
        found = self._ask(lambda store, path: store.find(path, prefix=prefix, detail=True))
        return {key.removeprefix(root): int(info["size"] or 0) for key, info in found.items() if key.startswith(root)}

    # Content.

    def read_bytes(self, limit: int | None = None) -> bytes:
        """Read an object, or as much of it as a limit allows, in one request.

        Raises:
            OSError: It is not there, or cannot be read.
        """
        if limit is None:
            return self._ask(lambda store, path: cast("bytes", store.cat_file(path)))
        try:
            return self._ask(lambda store, path: cast("bytes", store.cat_file(path, start=0, end=limit)))
        except StorageError as error:
            if _code_of(error) == "InvalidRange":  # of an empty object there is no first byte
                return b""
            raise

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read an object as text; line ends become \\n, as from a file."""
        with self.open("r", encoding=encoding) as file:
            return cast("str", file.read())

    def open(self, mode: str = "r", encoding: str = "utf-8", newline: str | None = None) -> IO[Any]:
        """Open an object for reading: it is fetched as a whole. Writing goes through `files.open_atomic`."""
        if mode not in ("r", "rb"):
            raise UsageError(f"{self}: cannot be opened to be written in place; choose a folder on a disk")
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding=encoding, newline=newline)

    def write_bytes(self, content: bytes, *, new: bool = False) -> None:
        """Write an object in one upload: it is there as a whole or not at all.

        Args:
            content: All of it.
            new: Only where there is none yet.

        Raises:
            FileExistsError: `new`, and there is one.
        """
        mode = "create" if new else "overwrite"
        self._ask(lambda store, path: store.pipe_file(path, content, mode=mode), writes=True)

    @contextmanager
    def open_upload(self) -> Iterator[BinaryIO]:
        """Open a file on this machine for writing; when the block is left, upload it, unless the block raises.

        A large one goes up in parts and appears when the last has arrived.

        Raises:
            OutputError: There is no room for it here.
        """

        def tell(error: OSError) -> OutputError:
            return OutputError(
                f"{self}: cannot be gathered in {system_folder()} ({error.strerror}); free some space there or "
                "set TMPDIR, then run the same command again"
            )

        with telling(tell):
            made = tempfile.NamedTemporaryFile(prefix="glint-label-")  # noqa: SIM115 (only to make it can fail here)
        with made, open_telling(Path(made.name), "wb", tell) as file:
            yield file
            file.flush()
            self._ask(lambda store, path: store.put_file(made.name, path), writes=True)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder comes with its first object. A bucket is never made."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object."""
        try:
            self._ask(lambda store, path: store.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects below this folder, a thousand a request."""
        paths = [f"{self._inside}/{name}" for name in names]
        if paths:
            self._ask(lambda store, _: store.rm(paths))

    def rmdir(self) -> None:
        """Do nothing: a folder goes with its last object."""

    def rename(self, to: "Stored") -> None:
        """Move an object, or all that lie in a folder one by one: the store copies each, and then deletes it."""
        if self.is_file():
            self._ask(lambda store, path: store.cp_file(path, to._inside))
            self.unlink()
            return
        for name in self.sizes():
            (self / name).rename(to / name)


@cache
def _connect(scheme: str, process: int) -> Any:  # noqa: ARG001 (a connection must not be shared with a forked process)
    package, extra, _ = STORES[scheme]
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise StorageError(f"{scheme}:// needs {package}: pip install 'glint-label[{extra}]'") from error
    import fsspec

    # What is in the store is asked for every time: others write there too.
    return fsspec.filesystem(scheme, use_listings_cache=False)


def _code_of(error: BaseException | None) -> str:
    """Find the store's own word for what is wrong, in an error or those that it came from."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__ or error.__context__
    return ""


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
