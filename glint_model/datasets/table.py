"""Any rated images: a CSV with file_name and mos, and if known group, distortion and level."""

from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import DatasetFolder
from glint_label.sources.tables import read_table, to_numbers
from glint_model.datasets.rated import RatedImages, rated_images


def load_table(label_file: Path, root: Path | None = None) -> RatedImages:
    """Read a CSV of rated images; higher scores are better, and their own span is the range.

    Args:
        label_file: The CSV.
        root: Folder of the images; by default that of the CSV.

    Raises:
        SourceError: The file is missing or malformed, or names an image outside the folder.
    """
    table = read_table(label_file, ("file_name", "mos"), optional=("group", "distortion", "level"))
    mos = to_numbers(table, "mos", label_file)
    rows = pd.DataFrame({"file_name": table["file_name"], "mos": mos})
    for column in ("group", "distortion"):
        if column in table:
            rows[column] = table[column]
    if "level" in table:
        levels = to_numbers(table, "level", label_file).fillna(0)
        if (levels % 1 != 0).any():
            line = table.index[levels % 1 != 0][0]
            raise SourceError(f"{label_file}, line {line}: level is {table['level'][line]!r}, not a whole number")
        rows["level"] = levels.astype(int)
    span = (float(mos.min()), float(mos.max()))
    folder = DatasetFolder(root or label_file.parent)
    images = rated_images(rows, label_file, span, folder)
    return RatedImages(
        name=label_file.name,
        root=folder.root,
        images=images,
        mos_range=span,
        scale="the column mos as it is: higher must be better",
        distortions=tuple(name for name in dict.fromkeys(images["distortion"]) if name),
    )
