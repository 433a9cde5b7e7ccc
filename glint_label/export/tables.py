"""CSV tables of an export."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from glint_label.files import open_atomic
from glint_label.manifest import METADATA_COLUMNS, format_lines, format_numbers
from glint_label.names import guarded

COLUMNS = tuple(METADATA_COLUMNS)
NAMES = ("reference", "anchor")  # columns that hold names which others chose


def text_columns(rows: pd.DataFrame, columns: Sequence[str] = COLUMNS) -> dict[str, list[str]]:
    """Write columns of metadata.csv as text: numbers with a fraction have four decimals, names are guarded."""
    texts = {}
    for column in columns:
        values = rows[column].tolist()
        if METADATA_COLUMNS[column][0] == "float64":
            texts[column] = format_numbers(values)
        elif column in NAMES:
            texts[column] = [guarded(value) for value in values]
        else:
            texts[column] = [str(value) for value in values]
    return texts


def write_tables(tables: Mapping[Path, Iterable[str]], chunks: Iterable[Mapping[str, Sequence[str]]]) -> None:
    """Write CSV files side by side from rows that need not fit into memory together.

    Args:
        tables: File -> its columns.
        chunks: Column -> text, for some rows each.

    Raises:
        OutputError: The disk is full.
    """
    with ExitStack() as files:
        opened = {path: files.enter_context(open_atomic(path)) for path in tables}
        for path, columns in tables.items():
            opened[path].write(format_lines([list(columns)]).encode())
        for chunk in chunks:
            for path, columns in tables.items():
                lines = zip(*(chunk[column] for column in columns), strict=True)
                opened[path].write(format_lines(lines).encode())


def write_table(path: Path, columns: Iterable[str], chunk: Mapping[str, Sequence[str]]) -> Path:
    """Write one CSV file, whose rows are all given; return it."""
    write_tables({path: columns}, [chunk])
    return path
