"""CSIQ (Larson and Chandler, 2010): 30 contents, 866 distorted images, six distortions at up to five levels.

Official layout: `csiq.DMOS.xlsx`, whose sheet `all_by_image` has image, dst_type, dst_lev and dmos (0 is undistorted,
1 the worst) below a few lines of text; `dst_imgs/jpeg2000/boston.jpeg2000.3.png` and so on. Copies without the
folders of the distortions, also as `dst_imgs_all/`, are read as well.
"""

from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.source import to_numbers
from glint_model.datasets.rated import RatedImages, check_count, first_file, rated_images, true_names
from glint_model.datasets.workbook import read_sheet

IMAGES = 866
SHEET = "all_by_image"
LEVELS = (1, 2, 3, 4, 5)
# dst_type of the workbook -> folder, which in some case is also in the file names
FOLDERS = {
    "noise": "awgn",
    "jpeg": "jpeg",
    "jpeg 2000": "jpeg2000",
    "fnoise": "fnoise",
    "blur": "blur",
    "contrast": "contrast",
}


def load_csiq(root: Path) -> RatedImages:
    """Read CSIQ, from its workbook or from that sheet saved as csiq.DMOS.csv.

    Raises:
        SourceError: The label file is missing, malformed or incomplete.
    """
    label_file = first_file(root, ("csiq.DMOS.xlsx", "csiq.DMOS.csv"))
    table = read_sheet(label_file, SHEET, ("image", "dst_type", "dst_lev", "dmos"))
    folders = table["dst_type"].str.lower().map(FOLDERS)
    if folders.isna().any():
        line = table.index[folders.isna()][0]
        raise SourceError(f"{label_file}, line {line}: {table['dst_type'][line]!r} is not a distortion of CSIQ")
    check_count(table, label_file, IMAGES)
    levels = to_numbers(table, "dst_lev", label_file)
    if not levels.isin(LEVELS).all():
        line = table.index[~levels.isin(LEVELS)][0]
        raise SourceError(f"{label_file}, line {line}: dst_lev is {table['dst_lev'][line]!r}, not one of 1 to 5")
    levels = levels.astype(int)
    there: dict[str, str] = {}
    for folder in ("dst_imgs_all", "dst_imgs", *(f"dst_imgs/{name}" for name in FOLDERS.values())):
        there |= true_names(root, folder)
    names = []
    for image, folder, level in zip(table["image"], folders, levels, strict=True):
        name = f"{image}.{folder}.{level}.png"
        names.append(there.get(name.lower(), f"dst_imgs/{folder}/{name}"))
    rows = pd.DataFrame(
        {
            "file_name": names,
            "mos": 1 - to_numbers(table, "dmos", label_file),
            "group": table["image"],
            "distortion": folders,
            "level": levels,
        }
    )
    return RatedImages(
        name="csiq",
        root=root,
        images=rated_images(rows, label_file, (0, 1)),
        mos_range=(0, 1),
        scale="1 - dmos: the DMOS says lower is better",
        distortions=tuple(FOLDERS.values()),
    )
