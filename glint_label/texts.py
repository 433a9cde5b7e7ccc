"""Text files as people really have them: written by Excel, Notepad, pandas or R, in several encodings."""

import codecs
import csv
import re
from collections.abc import Sequence
from pathlib import Path

SEPARATORS = ",;\t"
_BLANK = " \t"  # other white space may belong to a name
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which begins in the same way
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """Read a text in UTF-8, UTF-16 or UTF-32, else in cp1252, which older programs on Windows write.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text.
    """
    content = path.read_bytes()
    try:
        text = _decode(content)
    except UnicodeDecodeError as error:
        raise ValueError("not text in UTF-8, UTF-16 or cp1252") from error
    if "\0" in text:
        raise ValueError("not a text file")
    return text


def _decode(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding)
    if 0 in content[:2]:  # UTF-16 without a mark: one of the bytes of its first letter
        return content.decode("utf-16-be" if content[0] == 0 else "utf-16-le")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def read_names(path: Path) -> list[str]:
    """Read a list of names, one a line; quotes, a separator at the end, and a column of running numbers may be there.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no text.
    """
    lines = [line.strip(_BLANK) for line in re.split("\r\n|\r|\n", read_text(path))]
    lines = [line for line in lines if line]
    for separator in SEPARATORS:
        try:
            rows = list(csv.reader(lines, delimiter=separator, strict=True))
        except csv.Error:  # a quote that is part of a name
            continue
        if (names := _only_names(rows)) is not None:
            return names
    return lines


def _only_names(rows: list[list[str]]) -> list[str] | None:
    """Take the one column that holds names; None where these cells are no such table."""
    if all(len(row) == 1 for row in rows) and not any(set(SEPARATORS) & set(row[0]) for row in rows):
        return [row[0] for row in rows]
    separated = any(len(row) > 1 for row in rows)
    filled = [row for row in map(_without_empty, rows) if row]
    if separated and all(len(row) == 1 for row in filled):
        return [row[0] for row in filled]
    if filled and all(len(row) == 2 for row in filled):
        numbers, names = zip(*filled, strict=True)
        headed = numbers[0] == ""
        if is_running(numbers[headed:]):
            return list(names[headed:])
    return None


def is_running(cells: Sequence[str]) -> bool:
    """Tell whether a column is but the numbers of its rows, from 0 or 1, as pandas and R write them."""
    return any(list(cells) == [str(number) for number in range(first, first + len(cells))] for first in (0, 1))


def _without_empty(cells: list[str]) -> list[str]:
    """Drop the empty cells that separators at the end of a line make."""
    filled = [cell.strip(_BLANK) for cell in cells]
    while filled and not filled[-1]:
        filled.pop()
    return filled
