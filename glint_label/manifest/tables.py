"""Tables as text: UTF-8 CSV with LF, header and RFC 4180 quoting, numbers with four decimals."""

import csv
import io
import math
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glint_label.errors import StateError
from glint_label.manifest.schema import METADATA_COLUMNS

REPAIR = "run the same build command with --repair"


def format_numbers(values: Iterable[float]) -> list[str]:
    """Write numbers with four decimals; minus zero becomes zero."""
    return [f"{value:.4f}" if value <= -0.00005 or value >= 0.00005 else "0.0000" for value in values]


def format_list(values: Iterable[float]) -> str:
    """Write a JSON list of numbers with four decimals."""
    return f"[{', '.join(format_numbers(values))}]"


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
        table = pd.read_csv(path, dtype=types, keep_default_na=False, usecols=list(columns), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: {_bad_number(path, numbers) or f'cannot be read ({error})'}; {REPAIR}") from error
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
