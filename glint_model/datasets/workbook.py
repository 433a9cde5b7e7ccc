"""Tables in Excel workbooks, read with the standard library: two datasets do not justify a dependency.

A workbook is a zip of XML (ECMA-376): a list of sheets, a file for each, and one list of the texts that they share.
"""

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd

from glint_label.errors import SourceError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_MAX_XML = 2**28  # bytes; the largest of the two workbooks has some 3 million


def read_sheet(path: Path, sheet: str | None, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table out of a sheet, or out of a CSV saved from it, everything as text.

    The table begins at the first line that holds all its column names; lines without a first column are left out.

    Args:
        path: .xlsx or .csv.
        sheet: Its name in a workbook; None for the first one.
        columns: Names of the columns wanted.

    Returns:
        The columns; the index holds line numbers.

    Raises:
        SourceError: The file is damaged, or has no such sheet or columns.
    """
    try:
        lines = dict(_workbook_lines(path, sheet) if path.suffix == ".xlsx" else _csv_lines(path))
    except (OSError, zipfile.BadZipFile, ET.ParseError, csv.Error, KeyError, ValueError, IndexError) as error:
        advice = f"download it again, or save the sheet as {path.with_suffix('.csv').name}"
        raise SourceError(f"{path}: not a readable table ({error}); {advice}") from error
    wanted = set(columns)
    header = next((line for line, cells in lines.items() if wanted <= set(cells)), None)
    if header is None:
        raise SourceError(f"{path}: has no line with the column names {', '.join(columns)}")
    places = [lines[header].index(column) for column in columns]
    rows = {
        line: [cells[place] if place < len(cells) else "" for place in places]
        for line, cells in lines.items()
        if line > header and places[0] < len(cells) and cells[places[0]]
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns), dtype=str)


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, cells in enumerate(csv.reader(file), start=1):
            yield number, [cell.strip() for cell in cells]


def _workbook_lines(path: Path, sheet: str | None) -> Iterator[tuple[int, list[str]]]:
    with zipfile.ZipFile(path) as book:
        names = book.namelist()
        texts = _shared_texts(book) if "xl/sharedStrings.xml" in names else []
        root = _parse(book, _sheet_file(book, sheet))
        for row in root.iter(f"{_MAIN}row"):
            cells: list[str] = []
            for cell in row.iter(f"{_MAIN}c"):
                place = _column(cell.get("r", ""), len(cells))
                cells += [""] * (place + 1 - len(cells))
                cells[place] = _text_of(cell, texts).strip()
            yield int(row.get("r", "0")), cells


def _parse(book: zipfile.ZipFile, name: str) -> ET.Element:
    if book.getinfo(name).file_size > _MAX_XML:
        raise ValueError(f"{name} is larger than {_MAX_XML:,} bytes")
    return ET.fromstring(book.read(name))  # noqa: S314 (expat bounds the growth of entities; the size is bounded above)


def _sheet_file(book: zipfile.ZipFile, sheet: str | None) -> str:
    sheets = {entry.get("name"): entry.get(_ID) for entry in _parse(book, "xl/workbook.xml").iter(f"{_MAIN}sheet")}
    if sheet is not None and sheet not in sheets:
        raise ValueError(f"no sheet {sheet!r}; it has {', '.join(str(name) for name in sheets)}")
    wanted = sheets[sheet] if sheet is not None else next(iter(sheets.values()))
    targets = {entry.get("Id"): entry.get("Target", "") for entry in _parse(book, "xl/_rels/workbook.xml.rels")}
    target = targets[wanted]
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _shared_texts(book: zipfile.ZipFile) -> list[str]:
    return [_joined(entry) for entry in _parse(book, "xl/sharedStrings.xml").iter(f"{_MAIN}si")]


def _joined(entry: ET.Element) -> str:
    return "".join(part.text or "" for part in entry.iter(f"{_MAIN}t"))


def _text_of(cell: ET.Element, texts: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return _joined(cell)
    value = cell.findtext(f"{_MAIN}v") or ""
    return texts[int(value)] if cell.get("t") == "s" and value else value


def _column(reference: str, following: int) -> int:
    """Turn the letters of a reference such as D5 into a number from 0; a cell without one follows the last."""
    letters = re.match(r"[A-Z]+", reference)
    if letters is None:
        return following
    number = 0
    for letter in letters.group():
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1
