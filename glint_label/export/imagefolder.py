"""`imagefolder`: image files with a metadata.csv beside them, as many loaders read them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glint_label.export.format import About, Format, Part, Sample
from glint_label.export.parquet import HUB_SPLITS, hub_configs
from glint_label.export.tables import COLUMNS, text_columns, write_table
from glint_label.files import write_atomic


class ImageFolder(Format):
    """train/00000/*.png and train/00000/metadata.csv, ...: a folder a part."""

    name = "imagefolder"
    title = "image files with a metadata.csv beside them"
    images = ("png", "webp")
    files = (r"(train|val)/\d{5,}/([0-9a-f]{16}_\d\d_\d\.(png|webp)|metadata\.csv)",)

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write the images, then the table that names them."""
        place = folder / part.split / f"{part.number:05d}"
        written = []
        rows = []
        for sample in samples:
            path = place / sample.row["file_name"]
            write_atomic(path, sample.image or b"")
            written.append(path)
            rows.append(sample.row)
        table = write_table(place / "metadata.csv", COLUMNS, text_columns(pd.DataFrame(rows)))
        return [*written, table]

    def card_header(self, about: About) -> Mapping[str, Any]:
        """Name the files of each split."""
        return hub_configs(about, {split: f"{split}/**" for split in about.rows})

    def usage(self, about: About) -> str:
        """Load it with datasets."""
        split = HUB_SPLITS[next(iter(about.rows))]
        return (
            "```python\nfrom datasets import load_dataset\n\n"
            f'rows = load_dataset("FOLDER", split="{split}")\nrow = rows[0]\nprint(row["image"], row["mos"])\n```'
        )
