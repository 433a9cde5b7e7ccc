"""Tables as text: UTF-8 CSV with LF, header and RFC 4180 quoting, numbers with four decimals."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.errors import StateError
from glint_label.manifest.schema import METADATA_COLUMNS, REFERENCES_COLUMNS
from glint_label.storage import is_stored

_MOST = 999  # number of a distortion, or of a level
REPAIR = "run the same build command with --repair"


def format_numbers(values: Iterable[float]) -> list[str]:
    """Write numbers with four decimals; minus zero becomes zero."""
    return [f"{value:.4f}" if value <= -0.00005 or value >= 0.00005 else "0.0000" for value in values]


def format_list(values: Iterable[float]) -> str:
    """Write a JSON list of numbers with four decimals."""
    return f"[{', '.join(format_numbers(values))}]"


def format_many(values: NDArray[np.float64]) -> list[str]:
    """Write numbers with four decimals: what f"{value:.4f}" gives, of 0..10 in a fifth of the time.

    Args:
        values: (n,).
    """
    scaled = values * 10_000
    nearest = np.rint(scaled)
    # What lies next to the middle of two texts is left to Python, which rounds the exact binary number.
    texts = _texts()
    clear = (nearest < len(texts)) & ~np.signbit(values) & (np.abs(np.abs(scaled - nearest) - 0.5) > 1e-6)
    formatted = [texts[number] for number in np.where(clear, nearest, 0).astype(np.int64).tolist()]
    for place in np.flatnonzero(~clear).tolist():
        formatted[place] = f"{values[place]:.4f}"
    return formatted


@cache
def _texts() -> list[str]:
    return [f"{number / 10_000:.4f}" for number in range(100_000)]


def quote(text: str) -> str:
    """Write one field of CSV, quoted where it must be."""
    return format_lines([(text, "")])[:-2]


def format_csv(columns: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a CSV text: header, minimal quoting, LF."""
    return format_lines([list(columns)]) + format_lines(rows)


def format_lines(rows: Iterable[Sequence[object]]) -> str:
    """Write lines of CSV: minimal quoting, LF."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def read_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a small table by header name, as text.

    Raises:
        StateError: The file is missing or cut, or lacks a column.
    """
    wanted = list(columns)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            absent = [column for column in wanted if column not in (reader.fieldnames or [])]
            if absent:
                raise StateError(f"{path}: has no column {absent[0]!r}; {REPAIR}")
            rows = [{column: row[column] for column in wanted} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StateError(f"{path}: cannot be read ({error}); {REPAIR}") from error
    if any(value is None for row in rows for value in row.values()):
        raise StateError(f"{path}: a line lacks values; {REPAIR}")
    return rows


def read_references(path: Path) -> list[dict[str, str]]:
    """Read a shard's references.csv, as text whose every value is what its column says.

    Raises:
        StateError: The file is missing or cut, or a value is none of its column.
    """
    rows = read_rows(path, REFERENCES_COLUMNS)
    for line, row in enumerate(rows, start=2):
        for column, fits in _FITS.items():
            if not fits(row[column]):
                raise StateError(f"{path}: line {line}: {column} is {row[column][:80]!r}; {REPAIR}")
    return rows


def _is_list(text: str, kind: type) -> bool:
    try:
        values = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return False
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text or "0"))
    except ValueError:
        return False


# What the text of a column must look like.
_FITS: dict[str, Callable[[str], object]] = {
    "reference_id": re.compile("[0-9a-f]{16}").fullmatch,
    # Where it is empty, any file of that name would be taken for the photo.
    "sha256": re.compile("[0-9a-f]{64}").fullmatch,
    **dict.fromkeys(("file_width", "file_height", "width", "height", "shard"), re.compile("[0-9]{1,9}").fullmatch),
    "neighbours": partial(_is_list, kind=str),
    "similarities": partial(_is_list, kind=float),
    "weights": partial(_is_list, kind=float),
    "mos_offset": _is_number,
}


def read_metadata(path: Path, columns: Sequence[str] = tuple(METADATA_COLUMNS), text: str = "string") -> pd.DataFrame:
    """Read a metadata.csv with the column types of the schema.

    Args:
        path: The file.
        columns: Which of its columns.
        text: Type of those that hold text; `category` takes less time and room where texts come again.

    Raises:
        StateError: It is missing or malformed.
    """
    kinds = {name: METADATA_COLUMNS[name][0] for name in columns}
    numbers = [name for name, kind in kinds.items() if kind != "string"]
    types: dict[Hashable, Any] = {name: text if kind == "string" else kind for name, kind in kinds.items()}
    try:
        file = path.open("rb") if is_stored(path) else path
        with np.errstate(invalid="ignore"):  # of a number that is none, of which the error tells
            table = pd.read_csv(file, dtype=types, keep_default_na=False, usecols=list(columns), encoding="utf-8")
    except (OSError, ValueError, OverflowError) as error:
        raise StateError(f"{path}: {_bad_number(path, numbers) or f'cannot be read ({error})'}; {REPAIR}") from error
    # Whole numbers that a float holds too; as large a type or level has no meaning, and overflows what counts it.
    if not all(np.isfinite(table[name]).all() and (table[name].abs() <= 2**53).all() for name in numbers):
        raise StateError(f"{path}: {_bad_number(path, numbers) or 'a number is too large'}; {REPAIR}")
    for name in {"dist_type", "dist_level"} & set(columns):
        if not table[name].between(0, _MOST).all():
            raise StateError(f"{path}: {name} must lie in 0..{_MOST}; {REPAIR}")
    return table[list(columns)]


def _bad_number(path: Path, columns: Sequence[str]) -> str:
    """Say which line of a table that pandas refuses has no number where one belongs; empty where that is not it."""
    try:
        rows = read_rows(path, columns)
    except StateError:
        return ""
    for line, row in enumerate(rows, start=2):
        for name, text in row.items():
            try:
                finite = math.isfinite(float(text))
            except ValueError:
                finite = False
            if not finite:
                return f"line {line}: {name} is {text!r}, not a number"
    return ""
