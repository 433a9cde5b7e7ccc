"""The program's own stdout and stderr: whatever their encoding, full, closed, or a pipe that nobody reads."""

import errno
import io
import locale
import os
import re
import sys
from typing import TextIO

_ASCII = ("ascii", "us-ascii", "ansi_x3.4-1968", "646")


class StdoutError(Exception):
    """Stdout takes nothing any more; no OSError, which a command might take for one of its files."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout: cannot be written ({error.strerror}); what was made is kept")
        self.exit_code = 141 if error.errno == errno.EPIPE else 3  # shells report SIGPIPE as 141

    @property
    def closed(self) -> bool:
        """Whether a reader such as `head` had enough, which is no fault."""
        return self.exit_code == 141


# Names come with photos and manifests of others: control characters would do something to a terminal, and marks that
# change the order of letters make a name look like another one. On stderr, bars return to the start of their line, and
# one above another moves up.
_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_HARMFUL = {1: re.compile(rf"{_CONTROL}|\r(?!\n)"), 2: re.compile(rf"(?!\x1b\[A){_CONTROL}")}
_ORDER = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class _Stream(io.TextIOWrapper):
    """Text with escapes for what the encoding lacks; once it cannot be written, it takes everything in silence.

    Control characters that would do something to a terminal are written as escapes too, and on a terminal marks that
    change the order of letters. Elsewhere these stay: another program may read the names.
    """

    @property
    def encoding(self) -> str:  # type: ignore[override] # a property in the base class as well
        """The encoding under a name that click, which writes UTF-8 where it finds ASCII, does not take for ASCII."""
        name: str = super().encoding
        return f"{name} only" if name.lower() in _ASCII else name

    def write(self, text: str) -> int:
        if text == "":  # click tries whether that works; a full device refuses even this
            return 0
        harmless = _HARMFUL[2 if self.fileno() == 2 else 1].sub(_escape, text)
        if self.isatty():
            harmless = _ORDER.sub(_escape, harmless)
        try:
            super().write(harmless)
        except OSError as error:
            self._end(error)
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # what is still held back must not fail again when Python ends
        os.close(nowhere)
        if self.fileno() == 1:
            raise StdoutError(error)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def open_streams() -> None:
    """Put streams that cannot fail to encode, and that fail to write in one known way, in place of Python's."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # one of the three was closed: no file of ours may get its number
    os.close(number)
    for number, name in ((1, "stdout"), (2, "stderr")):
        given = getattr(sys, name)
        stream = _Stream(
            open(number, "wb", closefd=False) if given is None else given.buffer,  # noqa: SIM115 (open to the end)
            encoding="utf-8" if given is None else given.encoding,
            errors="backslashreplace",
            line_buffering=given is None or given.line_buffering,
            write_through=given is not None and given.write_through,
        )
        setattr(sys, name, stream)


def shows_unicode(stream: TextIO) -> bool:
    """Tell whether block characters can be expected to come out as such."""
    if not str(stream.encoding).lower().startswith("utf"):
        return False
    # Python writes UTF-8 in the locale C, whose terminals need not show it, unless it is asked to.
    asked = any(name in os.environ for name in ("PYTHONUTF8", "PYTHONIOENCODING"))
    return asked or not sys.flags.utf8_mode or locale.getencoding().lower().startswith("utf")
