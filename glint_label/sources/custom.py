"""Your own rated images: a folder with `ratings.csv` and the anchors.

ratings.csv has the columns anchor, distortion, level, mos and, if known, std (deviation over raters) and n (number
of raters). Higher scores are better, unless the reader is told otherwise. An anchor is a path relative to the folder.
A distortion that bears a name of the table in `glint_label.distortions` is taken to be that one; others serve `audit`.
"""

from pathlib import Path, PurePath

import numpy as np
import pandas as pd

from glint_label.errors import SourceError
from glint_label.names import is_too_long
from glint_label.sources.source import Source, check_ratings, find_anchors
from glint_label.sources.tables import read_table, to_numbers, turned
from glint_label.storage import lies_in
from glint_label.texts import read_text


def load_custom(
    root: Path,
    *,
    allow_missing_anchors: bool = False,
    mos_range: tuple[float, float] | None = None,
    higher_is_worse: bool = False,
) -> Source:
    """Read a folder with ratings.csv; scores lie in `mos_range`, by default the span of the scores themselves.

    Where higher is worse they are turned within that range: low + high - score.

    Raises:
        SourceError: Ratings are malformed, an anchor lies outside the folder, or anchors are missing.
    """
    label_file = root / "ratings.csv"
    table = read_table(label_file, ("anchor", "distortion", "level", "mos"), optional=("std", "n"))
    for column in ("anchor", "distortion"):
        if (table[column] == "").any():
            line = table.index[table[column] == ""][0]
            raise SourceError(f"{label_file}, line {line}: {column} is empty")
    levels = to_numbers(table, "level", label_file)
    wrong = ~(levels >= 1) | (levels % 1 != 0)
    if wrong.any():
        line = table.index[wrong][0]
        raise SourceError(f"{label_file}, line {line}: level is {table['level'][line]!r}, not a whole number from 1")
    ratings = pd.DataFrame(
        {
            "anchor": table["anchor"],
            "distortion": table["distortion"],
            "level": levels.astype(int),
            "mos": to_numbers(table, "mos", label_file),
            "std": to_numbers(table, "std", label_file) if "std" in table else np.nan,
            "n": to_numbers(table, "n", label_file).fillna(0).astype(int) if "n" in table else 0,
        }
    )
    low, high = (float(bound) for bound in mos_range or (ratings["mos"].min(), ratings["mos"].max()))
    check_ratings(ratings, label_file, (low, high))
    if higher_is_worse:
        ratings["mos"] = turned(ratings["mos"], (low, high))
    anchors, missing = find_anchors("custom", _anchor_files(ratings, root, label_file), allow_missing_anchors)
    return Source(
        name="custom",
        root=root,
        anchors=anchors,
        ratings=ratings[ratings["anchor"].isin(anchors)],
        mos_range=(low, high),
        distortions=tuple(dict.fromkeys(ratings["distortion"])),
        label_file=label_file,
        missing_anchors=missing,
        note=_read_note(root / "NOTE.txt"),
    )


def _read_note(path: Path) -> str:
    try:
        return read_text(path).strip() if path.is_file() else ""
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error


def _anchor_files(ratings: pd.DataFrame, root: Path, label_file: Path) -> dict[str, Path]:
    files = {}
    for line, name in ratings["anchor"].drop_duplicates().items():
        path = root / name
        if is_too_long(PurePath(name)):
            raise SourceError(f"{label_file}, line {line}: the anchor {name[:80]!r}... is longer than any file's name")
        if not lies_in(path, root):
            raise SourceError(f"{label_file}, line {line}: the anchor {name!r} lies outside {root}")
        files[str(name)] = path
    return files
