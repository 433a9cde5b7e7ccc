"""Any rated images: a CSV with file_name and mos, and if known the content, distortion and level."""

import logging
from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import DatasetFolder
from glint_label.sources.tables import read_table, to_numbers, turned
from glint_model.datasets.rated import TURNED, RatedImages, rated_images

_LOG = logging.getLogger(__name__)
CONTENTS = ("group", "reference", "ref_img")  # columns that name the content: ours, and what others call it


def load_table(label_file: Path, root: Path | None = None, *, higher_is_worse: bool = False) -> RatedImages:
    """Read a CSV of rated images; the scores' own span is the range.

    Args:
        label_file: The CSV.
        root: Folder of the images; by default that of the CSV.
        higher_is_worse: Turn the scores within their range.

    Raises:
        SourceError: The file is missing or malformed, or names an image outside the folder.
    """
    table = read_table(label_file, ("file_name", "mos"), optional=(*CONTENTS, "distortion", "level"))
    mos = to_numbers(table, "mos", label_file)
    span = (float(mos.min()), float(mos.max()))
    rows = pd.DataFrame({"file_name": table["file_name"], "mos": turned(mos, span) if higher_is_worse else mos})
    if "distortion" in table:
        rows["distortion"] = table["distortion"]
    if content := _content_column(table, label_file):
        rows["group"] = table[content]
    elif "distortion" in table:
        _LOG.warning(
            "%s: names distortions but no contents, so every image counts as its own; if several show one picture, "
            "name it in a column %r",
            label_file,
            CONTENTS[0],
        )
    if "level" in table:
        levels = to_numbers(table, "level", label_file).fillna(0)
        if (levels % 1 != 0).any():
            line = table.index[levels % 1 != 0][0]
            raise SourceError(f"{label_file}, line {line}: level is {table['level'][line]!r}, not a whole number")
        rows["level"] = levels.astype(int)
    folder = DatasetFolder(root or label_file.parent)
    images = rated_images(rows, label_file, span, folder)
    return RatedImages(
        name=label_file.name,
        root=folder.root,
        images=images,
        mos_range=span,
        scale=f"the column mos {TURNED if higher_is_worse else 'as it is: higher must be better'}",
        distortions=tuple(name for name in dict.fromkeys(images["distortion"]) if name),
    )


def _content_column(table: pd.DataFrame, label_file: Path) -> str | None:
    """Find the column that names the content.

    Raises:
        SourceError: Two of them sort the images differently.
    """
    there = [name for name in CONTENTS if name in table]
    for other in there[1:]:
        pairs = table[[there[0], other]].drop_duplicates()
        if pairs[there[0]].duplicated().any() or pairs[other].duplicated().any():
            raise SourceError(
                f"{label_file}: its columns {there[0]!r} and {other!r} sort the images into different contents; "
                "keep the one whose images must not be parted"
            )
    return there[0] if there else None
