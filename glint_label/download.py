"""One large file over HTTP: after a broken connection it goes on where it was, also in a later call."""

import json
import re
import shutil
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import requests

import glint_label
from glint_label.errors import DownloadError, OutputError
from glint_label.progress import MakeProgress, Progress, no_progress

PAUSES = (1.0, 3.0, 9.0, 27.0)  # seconds before the next try: the first where the last one got further, else the next
_TIMEOUT = (20, 60)  # seconds: to connect, and between two pieces
_PIECE = 1 << 13  # bytes; a broken connection loses a piece at most
_MEGABYTE = 10**6
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that may do better soon
_UNUSABLE = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


def download(
    address: str,
    path: Path,
    *,
    instead: str,
    size: int | None = None,
    pauses: Sequence[float] = PAUSES,
    progress: MakeProgress = no_progress,
) -> None:
    """Download a file, going on with what an earlier call left; nothing is asked for where that is whole.

    The bytes that are there are kept if the server says that the file is still the same, by ETag or date, or at least
    still as long; otherwise the download starts again. Two files of one length cannot be told apart where the server
    names neither: what is made of the file has to find that out.

    Args:
        address: http or https; redirects to either are followed.
        path: Where to put it, whole when this returns; what it is a part of is noted beside it, with `.json` at the
            end of its name. The folder must exist, and have room for the file and as much again, to unpack it.
        instead: What to do where the address gives no file, for the errors.
        size: Of the file, bytes, where it is known: nothing of another size is downloaded.
        pauses: Seconds to wait before each further try; when they are used up without progress it is given up.
        progress: Makes the progress bar, in megabytes.

    Raises:
        DownloadError: The address cannot be reached or gives no file, or the connection broke too often.
        OutputError: The disk is full or the folder cannot be written.
    """
    part = _Part(address, path, size)
    bar = _Megabytes(progress)
    failures = 0
    try:
        while not part.is_whole():
            before, reason = part.size, "it ended early"
            try:
                _receive(address, part, bar, instead)
            except _UNUSABLE as error:
                raise DownloadError(f"{address}: leads to no http or https address ({error}); {instead}") from error
            except requests.RequestException as error:
                reason = _innermost(error)
            if part.is_whole():
                break
            failures = 0 if part.size > before else failures + 1
            if failures >= len(pauses):
                raise DownloadError(_gave_up(address, part, reason, instead))
            time.sleep(pauses[failures])
    finally:
        bar.close()


class _Part:
    """The bytes that have arrived, and of which version of the file.

    Attributes:
        path: The file with the bytes.
        version: The server's name of the version: its ETag or date; empty where it gives neither.
        total: Bytes of the whole file; None where the server does not say.
        wanted: The same as it must be; None where that is not known.
    """

    def __init__(self, address: str, path: Path, wanted: int | None) -> None:
        self.path = path
        self.version = ""
        self.total: int | None = None
        self.wanted = wanted
        self._address = address
        self._about = path.with_name(f"{path.name}.json")
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            if about["address"] == address:
                self.version, self.total = str(about["version"]), about["total"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing is known of the bytes that may be there, so that the first answer starts again

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def is_whole(self) -> bool:
        """Tell whether every byte of the version is there."""
        return self.total is not None and self.size == self.total

    def headers(self) -> dict[str, str]:
        """Ask for what is missing, or for all of it if the file has changed."""
        if not self.size or not (self.version or self.total):
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": self.version} if self.version else {})

    def begin(self, answer: requests.Response) -> None:
        """Start again, with the answer's version of the file."""
        length = answer.headers.get("Content-Length", "")
        self.version, self.total = _version(answer), int(length) if length.isdecimal() else self.wanted
        _write(self.path, b"", "wb")  # first of all: bytes of one version never lie beside the name of another
        about = {"address": self._address, "version": self.version, "total": self.total}
        _write(self._about, json.dumps(about).encode(), "wb")

    def continues(self, answer: requests.Response) -> bool:
        """Tell whether a partial answer begins where this ends, in the same version of the file."""
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        same = _version(answer) in ("", self.version) or not self.version
        if place is None or int(place[1]) != self.size or not same or self.total not in (None, int(place[2])):
            return False
        self.total = int(place[2])
        return True

    def forget(self) -> None:
        """Let the next answer start again."""
        self.version, self.total = "", None
        self._about.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class _Megabytes:
    """A progress bar that is made when the size is known, and that may go back to the beginning."""

    def __init__(self, make: MakeProgress) -> None:
        self._make = make
        self._bar: Progress | None = None
        self._shown = 0

    def show(self, size: int, total: int | None) -> None:
        """Show how many bytes are there."""
        done = size // _MEGABYTE
        if self._bar is None:
            self._bar = self._make("fetch, MB", (total or 0) // _MEGABYTE, done)
        elif done != self._shown:
            self._bar.update(done - self._shown)
        self._shown = done

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()


def is_web_page(start: bytes) -> bool:
    """Tell a web page by its first bytes: servers send one in place of a file, and may call it anything."""
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _receive(address: str, part: _Part, bar: _Megabytes, instead: str) -> None:
    """Ask once, and keep what arrives."""
    headers = {"Accept-Encoding": "identity", "User-Agent": f"glint-label/{glint_label.__version__}", **part.headers()}
    with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        status = answer.status_code
        if status in _BUSY:
            raise requests.ConnectionError(f"the server answered {status} {answer.reason}")
        if status == 416 or (status == 206 and not part.continues(answer)):
            part.forget()  # the server has another file now
            return
        if not answer.ok:
            raise DownloadError(f"{address}: the server answered {status} {answer.reason}; {instead}")
        pieces = answer.iter_content(_PIECE)
        first = next(pieces, b"")
        if status != 206:
            if is_web_page(first):
                raise DownloadError(f"{address}: answered with a web page where a file was expected; {instead}")
            part.begin(answer)
        _check_size(address, part, instead)
        size = part.size
        for piece in chain([first], pieces):
            _write(part.path, piece, "ab")
            size += len(piece)
            bar.show(size, part.total)
    if part.total is None:
        part.total = part.size  # the answer ended as it should, and said nothing of its length


def _check_size(address: str, part: _Part, instead: str) -> None:
    if part.wanted is not None and part.total != part.wanted:
        offered = part.total
        part.forget()
        raise DownloadError(f"{address}: offers {offered:,} bytes where {part.wanted:,} were expected; {instead}")
    needed = 2 * (part.total or 0) - part.size
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise OutputError(
            f"{part.path.parent}: {needed / 1e9:.1f} GB are needed to download and unpack, {free / 1e9:.1f} GB are "
            "free; make room, or choose a folder on another disk"
        )


def _write(path: Path, content: bytes, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); make room, then run the same command again"
        ) from error


def _version(answer: requests.Response) -> str:
    """Name the version of a file as If-Range wants it: a weak ETag promises no equal bytes."""
    tag: str = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _innermost(error: BaseException) -> str:
    """Say why a connection failed without the library's wrapping."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__


def _gave_up(address: str, part: _Part, reason: str, instead: str) -> str:
    if not part.size:
        return f"{address}: nothing arrived ({reason}); check the network, or {instead}"
    of = f" of {part.total / 1e6:.1f}" if part.total else ""
    return (
        f"{address}: the connection broke again and again ({reason}), {part.size / 1e6:.1f}{of} MB have arrived; "
        f"run the same command again, or {instead}"
    )
