"""Tables in Excel workbooks, or in a CSV saved from one."""

import io
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.tables import Lines, read_table, table_of

# A workbook is a zip of XML: a small file can unpack to, or lay out, more than the memory holds. The largest of the
# two workbooks that are read unpacks to some 3 million bytes and has 11,126 lines.
_MAX_BYTES = 2**24
_MAX_LINES = 2**15
_MAX_CELLS = 2**8  # in a line

# What openpyxl is known to raise on damaged workbooks; its parser's errors are SyntaxErrors.
_DAMAGE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
)


def read_sheet(path: Path, sheet: str | None, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table out of a sheet, or out of a CSV saved from it, everything as text.

    The table begins at the first line that holds all headings, whatever their case.

    Args:
        path: .xlsx or .csv.
        sheet: Its name in a workbook; None for the first one.
        columns: Headings wanted.

    Returns:
        The columns; the index holds line numbers.

    Raises:
        SourceError: The file is damaged, or has no such sheet or columns, or openpyxl is not installed.
    """
    if path.suffix.lower() != ".xlsx":
        return read_table(path, columns)
    advice = f"save the sheet as {path.with_suffix('.csv').name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and other things that are no part of the table
            lines = _workbook_lines(path, sheet)
    except ImportError as error:
        message = f'{path}: reading workbooks needs openpyxl: pip install "glint-label[excel]", or {advice}'
        raise SourceError(message) from error
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]  # openpyxl goes on for lines
        raise SourceError(f"{path}: not a readable workbook ({reason}); download it again, or {advice}") from error
    return table_of(lines, columns, path)


def _workbook_lines(path: Path, sheet: str | None) -> Lines:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
            raise ValueError(f"unpacks to more than {_MAX_BYTES:,} bytes")
    with pd.ExcelFile(content, engine="openpyxl") as book:
        names = [str(name) for name in book.sheet_names]
        name = names[0] if sheet is None else next((name for name in names if name.lower() == sheet.lower()), None)
        if name is None:
            raise ValueError(f"no sheet {sheet!r}; it has {', '.join(names)}")
        # pandas makes all lines as long as the longest: one far cell of a small file would fill the memory.
        cells = book.book[name]
        cells.reset_dimensions()  # those that the file states need not be true
        if any(len(line) > _MAX_CELLS for line in cells.iter_rows(max_row=_MAX_LINES, values_only=True)):
            raise ValueError(f"a line of more than {_MAX_CELLS} cells")
        table = pd.read_excel(book, sheet_name=name, header=None, dtype=str, na_filter=False, nrows=_MAX_LINES)
    return {number: [text.strip() for text in line] for number, line in enumerate(table.to_numpy().tolist(), 1)}
