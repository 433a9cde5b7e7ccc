"""SPAQ (Fang et al., 2020): 11,125 smartphone photos, each its own content.

Official layout: `Annotations/MOS and Image attribute scores.xlsx` (Image name, MOS, Brightness, ...) and `TestImage/`.
"""

from pathlib import Path

import pandas as pd

from glint_label.sources.folder import find_labels
from glint_label.sources.tables import to_numbers
from glint_model.datasets.rated import RatedImages, check_count, rated_images
from glint_model.datasets.workbook import read_sheet

IMAGES = 11_125
LABELS = tuple(f"Annotations/MOS and Image attribute scores.{suffix}" for suffix in ("csv", "xlsx"))


def load_spaq(root: Path) -> RatedImages:
    """Read SPAQ, from its workbook or from that sheet saved as CSV.

    Raises:
        SourceError: The label file is missing, malformed or incomplete.
    """
    folder, label_file = find_labels(root, LABELS)
    table = read_sheet(label_file, None, ("Image name", "MOS"))
    table = table[table["Image name"] != ""]  # lines below the table
    check_count(table, label_file, IMAGES)
    rows = pd.DataFrame({"file_name": "TestImage/" + table["Image name"], "mos": to_numbers(table, "MOS", label_file)})
    return RatedImages(
        name="spaq",
        root=folder.root,
        images=rated_images(rows, label_file, (0, 100), folder),
        mos_range=(0, 100),
        scale="the scores as they are, higher is better",
    )
