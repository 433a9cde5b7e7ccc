"""KADID-10k (Lin, Hosu, Saupe, QoMEX 2019): 81 anchors x 25 distortions x 5 levels, about 30 raters an image.

Official layout: `dmos.csv` (dist_img, ref_img, dmos, var) and `images/I01.png`, `images/I01_01_01.png`, ...
The column is called dmos but higher is better; var is the variance of the ratings.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_label.sources.source import Condition, Source, check_complete, check_ratings, find_anchors
from glint_label.sources.tables import read_table, to_numbers

ANCHORS = tuple(f"I{number:02d}" for number in range(1, 82))
LEVELS = (1, 2, 3, 4, 5)
RATERS = 30
DISTORTIONS = (
    "gaussian_blur",
    "lens_blur",
    "motion_blur",
    "color_diffusion",
    "color_shift",
    "color_quantization",
    "color_saturation_hsv",
    "color_saturation_lab",
    "jpeg2000",
    "jpeg",
    "white_noise",
    "white_noise_ycbcr",
    "impulse_noise",
    "multiplicative_noise",
    "denoise",
    "brighten",
    "darken",
    "mean_shift",
    "jitter",
    "non_eccentricity_patch",
    "pixelate",
    "quantization",
    "color_block",
    "high_sharpen",
    "contrast_change",
)
NUMBERS = {name: number for number, name in enumerate(DISTORTIONS, start=1)}


def can_be_made(condition: Condition) -> bool:
    """Tell whether a (distortion, level) is one of KADID-10k's, so that its pixels can be made here."""
    name, level = condition
    return name in NUMBERS and level in LEVELS


def load_kadid10k(root: Path, *, allow_missing_anchors: bool = False, keep_unanchored_ratings: bool = False) -> Source:
    """Read KADID-10k from its official folder layout.

    Args:
        root: Its folder.
        allow_missing_anchors: Go on with the anchors that are there.
        keep_unanchored_ratings: Keep the ratings of missing anchors, even if none is there.

    Raises:
        SourceError: Ratings are malformed or incomplete, or anchors are missing.
    """
    folder, label_file = find_labels(root, ["dmos.csv"])
    table = read_table(label_file, ("dist_img", "ref_img", "dmos", "var"))
    ratings = _parse_names(table, label_file)
    ratings["mos"] = to_numbers(table, "dmos", label_file)
    ratings["std"] = np.sqrt(to_numbers(table, "var", label_file))
    ratings["n"] = RATERS
    check_ratings(ratings, label_file, (1, 5))
    expected = pd.MultiIndex.from_product([ANCHORS, DISTORTIONS, LEVELS])
    check_complete(ratings, label_file, expected)
    files = {anchor: folder.path(f"images/{anchor}.png") for anchor in ANCHORS}
    anchors, missing = find_anchors("kadid10k", files, allow_missing_anchors, keep_unanchored_ratings)
    return Source(
        name="kadid10k",
        root=folder.root,
        anchors=anchors,
        ratings=ratings if keep_unanchored_ratings else ratings[ratings["anchor"].isin(anchors)],
        mos_range=(1, 5),
        distortions=DISTORTIONS,
        label_file=label_file,
        missing_anchors=missing,
        licence="research use, cite the authors",
        image_name="images/{anchor}_{number:02d}_{level:02d}.png",
        citation="Lin, Hosu, Saupe: KADID-10k, a large-scale artificially distorted IQA database, QoMEX 2019",
    )


def _parse_names(table: pd.DataFrame, label_file: Path) -> pd.DataFrame:
    parts = table["dist_img"].str.upper().str.extract(r"^(I\d{2})_(\d{2})_(\d{2})\.PNG$")
    number = pd.to_numeric(parts[1])
    wrong = (
        parts[0].isna() | (parts[0] + ".PNG" != table["ref_img"].str.upper()) | ~number.between(1, len(DISTORTIONS))
    )
    if wrong.any():
        line = table.index[wrong][0]
        row = table.loc[line]
        raise SourceError(
            f"{label_file}, line {line}: {row['dist_img']!r} of {row['ref_img']!r} is not an image of KADID-10k"
        )
    names = dict(enumerate(DISTORTIONS, start=1))
    return pd.DataFrame(
        {"anchor": parts[0], "distortion": number.map(names), "level": parts[2].astype(int)},
        index=table.index,
    )
