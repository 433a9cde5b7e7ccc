"""Label tables as people really have them: saved by Excel, with commas for decimals, headings in another case."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from glint_label.errors import SourceError
from glint_label.texts import SEPARATORS, is_running, read_text

Lines = dict[int, list[str]]  # line number -> cells


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV of ratings by its headings, everything as text; see `table_of`.

    Cells are separated by commas, semicolons (Excel's, where decimals have a comma) or tabs.

    Args:
        path: In one of the encodings of `read_text`.
        columns: Headings wanted.
        optional: Headings that may be absent.

    Raises:
        SourceError: The file is not there, is not a CSV, or lacks a column.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file; --source-dir must be the folder that holds it")
    lines: Lines = {}
    try:
        text = read_text(path)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text, columns), strict=True)
        for cells in reader:
            lines[reader.line_num] = [cell.strip() for cell in cells]
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path}: not a readable CSV ({error}); save it as CSV in UTF-8") from error
    return table_of(lines, columns, path, optional)


def table_of(lines: Lines, columns: Sequence[str], path: Path, optional: Sequence[str] = ()) -> pd.DataFrame:
    """Cut a table out of the lines of a sheet: it begins at the first line that holds all headings wanted.

    Args:
        lines: All lines of the sheet.
        columns: Headings wanted, in any case.
        path: Named in errors.
        optional: Headings that may be absent.

    Returns:
        The columns under the names asked for; the index holds line numbers. Lines without a cell in them are left out.

    Raises:
        SourceError: A column is absent, or a line has more cells than there are headings.
    """
    lines = {line: cells for line, cells in lines.items() if any(cells)}
    wanted = {column.lower() for column in columns}
    # The line that comes nearest is the one to complain about.
    header = max(lines, key=lambda line: len(wanted & _lower(lines[line])), default=None)
    if header is None:
        raise SourceError(f"{path}: is empty; it must have a line that names {', '.join(columns)}")
    headings = lines[header]
    if _lacks_heading([cells for line, cells in lines.items() if line > header], len(headings)):
        headings = ["", *headings]
    places = {name: place for name in (*columns, *optional) if (place := _place(headings, name)) is not None}
    absent = [column for column in columns if column not in places]
    if absent:
        raise SourceError(f"{path}: has no column {absent[0]!r}; it has {', '.join(filter(None, headings))}")
    rows = {}
    for line, cells in lines.items():
        if line <= header:
            continue
        if any(cells[len(headings) :]):
            raise SourceError(f"{path}, line {line}: has {len(cells)} cells, but line {header} names {len(headings)}")
        row = [cells[place] if place < len(cells) else "" for place in places.values()]
        if any(row):
            rows[line] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(places), dtype=str)


def to_numbers(table: pd.DataFrame, column: str, path: Path) -> "pd.Series[float]":
    """Convert a text column to float; empty and `nan` become NaN, and a decimal comma is as good as a point.

    Raises:
        SourceError: Names the first line that is not a number.
    """
    text = table[column].str.strip()
    numbers = pd.to_numeric(_with_points(text), errors="coerce")
    wrong = (numbers.isna() & ~text.str.lower().isin(["", "nan"])) | np.isinf(numbers)
    if wrong.any():
        line = table.index[wrong][0]
        advice = "; write decimals with a point" if "," in text[line] else ""
        raise SourceError(f"{path}, line {line}: {column} is {text[line]!r}, not a number{advice}")
    return numbers.astype(float)


def turned(scores: "pd.Series[float]", mos_range: tuple[float, float]) -> "pd.Series[float]":
    """Turn scores of which higher is worse, as DMOS are, within their range: low + high - score; NaN stays."""
    low, high = mos_range
    return (low + high - scores).clip(low, high)  # the sum's rounding must not lead out of the range


def _with_points(text: "pd.Series[str]") -> "pd.Series[str]":
    """Replace decimal commas, unless the column has points as well or its commas may separate thousands."""
    commas = text[text.str.contains(",", regex=False)]
    if text.str.contains(".", regex=False).any() or commas.str.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+").all():
        return text
    return text.str.replace(",", ".", regex=False)


def _separator(text: str, columns: Sequence[str]) -> str:
    """Find what separates the headings wanted; a comma if no line has them all."""
    wanted = {column.lower() for column in columns}
    for line in text.splitlines():
        for separator in SEPARATORS:
            if wanted <= _lower(cell.strip().strip('"') for cell in line.split(separator)):
                return separator
    return ","


def _lacks_heading(rows: Sequence[list[str]], headings: int) -> bool:
    """Tell whether every row begins with its number and the line of headings does not speak of it, as R writes it."""
    longer = all(len(row) == headings + 1 for row in rows) and any(row[-1] for row in rows)
    return longer and is_running([row[0] for row in rows])


def _lower(cells: Iterable[str]) -> set[str]:
    return {cell.strip().lower() for cell in cells}


def _place(headings: Sequence[str], name: str) -> int | None:
    lowered = [heading.lower() for heading in headings]
    places = [place for place, heading in enumerate(lowered) if heading == name.lower()]
    return next((place for place in places if headings[place] == name), places[0] if places else None)
