"""CSIQ (Larson and Chandler, 2010): 30 contents, 866 distorted images, six distortions at up to five levels.

Official layout: `csiq.DMOS.xlsx`, once `csiq.beta.xlsx`, whose sheet `all_by_image` has image, dst_type, dst_lev and
dmos (0 is undistorted, 1 the worst) below a few lines of text; `dst_imgs/jpeg2000/boston.jpeg2000.3.png` and so on.
Copies without the folders of the distortions, also as `dst_imgs_all/`, are read as well.
"""

from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_label.sources.tables import to_numbers
from glint_model.datasets.rated import RatedImages, check_count, rated_images
from glint_model.datasets.workbook import read_sheet

IMAGES = 866
LABELS = tuple(f"csiq.{name}.{suffix}" for suffix in ("csv", "xlsx") for name in ("DMOS", "beta"))
SHEET = "all_by_image"
LEVELS = (1, 2, 3, 4, 5)
DISTORTIONS = ("awgn", "jpeg", "jpeg2000", "fnoise", "blur", "contrast")  # also their folders
WORKBOOK_NAMES = {"noise": "awgn"}  # dst_type of the workbook, where it differs


def load_csiq(root: Path) -> RatedImages:
    """Read CSIQ, from its workbook or from that sheet saved as CSV.

    Raises:
        SourceError: The label file is missing, malformed or incomplete.
    """
    folder, label_file = find_labels(root, LABELS)
    table = read_sheet(label_file, SHEET, ("image", "dst_type", "dst_lev", "dmos"))
    table = table[table["image"] != ""]  # lines below the table
    kinds = table["dst_type"].str.lower().str.replace(" ", "", regex=False).replace(WORKBOOK_NAMES)
    strange = ~kinds.isin(DISTORTIONS)
    if strange.any():
        line = table.index[strange][0]
        raise SourceError(f"{label_file}, line {line}: {table['dst_type'][line]!r} is not a distortion of CSIQ")
    check_count(table, label_file, IMAGES)
    levels = to_numbers(table, "dst_lev", label_file)
    strange = ~levels.isin(LEVELS)
    if strange.any():
        line = table.index[strange][0]
        raise SourceError(f"{label_file}, line {line}: dst_lev is {table['dst_lev'][line]!r}, not one of 1 to 5")
    names = []
    for image, kind, level in zip(table["image"], kinds, levels, strict=True):
        name = f"{image}.{kind}.{level:.0f}.png"
        names.append(folder.find(f"dst_imgs/{kind}/{name}", f"dst_imgs/{name}", f"dst_imgs_all/{name}"))
    rows = pd.DataFrame(
        {
            "file_name": names,
            "mos": 1 - to_numbers(table, "dmos", label_file),
            "group": table["image"],
            "distortion": kinds,
            "level": levels,
        }
    )
    return RatedImages(
        name="csiq",
        root=folder.root,
        images=rated_images(rows, label_file, (0, 1), folder),
        mos_range=(0, 1),
        scale="1 - dmos: the DMOS says lower is better",
        distortions=DISTORTIONS,
    )
