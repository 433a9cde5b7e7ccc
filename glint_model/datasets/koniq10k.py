"""KonIQ-10k (Hosu et al., 2020): 10,073 photos, each its own content.

Official layout: `koniq10k_scores_and_distributions.csv` (image_name, c1 .. c5, c_total, MOS, SD, MOS_zscore) and the
images in `1024x768/` or `512x384/`, after their archives also `koniq10k_1024x768/` and `koniq10k_512x384/`.
"""

from pathlib import Path

import pandas as pd

from glint_label.sources.source import read_table, to_numbers
from glint_model.datasets.rated import RatedImages, check_count, rated_images

IMAGES = 10_073
FOLDERS = ("1024x768", "koniq10k_1024x768", "512x384", "koniq10k_512x384")


def load_koniq10k(root: Path) -> RatedImages:
    """Read KonIQ-10k; where both sizes are there, the larger one, which the raters saw.

    Raises:
        SourceError: The label file is missing, malformed or incomplete.
    """
    label_file = root / "koniq10k_scores_and_distributions.csv"
    table = read_table(label_file, ("image_name", "MOS_zscore"))
    check_count(table, label_file, IMAGES)
    folder = next((name for name in FOLDERS if (root / name).is_dir()), FOLDERS[0])
    named = pd.DataFrame(
        {"file_name": folder + "/" + table["image_name"], "mos": to_numbers(table, "MOS_zscore", label_file)}
    )
    return RatedImages(
        name="koniq10k",
        root=root,
        images=rated_images(named, label_file, (0, 100)),
        mos_range=(0, 100),
        scale="the column MOS_zscore as it is, higher is better",
    )
