"""KonIQ-10k (Hosu et al., 2020): 10,073 photos, each its own content.

Official layout: `koniq10k_scores_and_distributions.csv` or `koniq10k_scores.csv` (image_name, c1 .. c5, c_total, MOS,
SD, MOS_zscore), or the authors' split `koniq10k_distributions_sets.csv`, which has MOS_zscore under the name of MOS;
and the images in `1024x768/` or `512x384/`, after their archives also `koniq10k_1024x768/` and `koniq10k_512x384/`.
"""

from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_label.sources.tables import read_table, to_numbers
from glint_model.datasets.rated import RatedImages, check_count, rated_images

IMAGES = 10_073
LABELS = ("koniq10k_scores_and_distributions.csv", "koniq10k_scores.csv", "koniq10k_distributions_sets.csv")
FOLDERS = ("1024x768", "koniq10k_1024x768", "512x384", "koniq10k_512x384")
OPINIONS = ("MOS_zscore", "MOS")
HIGHEST_RATING = 5


def load_koniq10k(root: Path) -> RatedImages:
    """Read KonIQ-10k; where both sizes are there, the larger one, which the raters saw.

    Raises:
        SourceError: The label file is missing, malformed or incomplete.
    """
    folder, label_file = find_labels(root, LABELS)
    table = read_table(label_file, ("image_name",), optional=OPINIONS)
    check_count(table, label_file, IMAGES)
    column = next((name for name in OPINIONS if name in table), None)
    if column is None:
        raise SourceError(f"{label_file}: has no column {' or '.join(OPINIONS)}; download it again")
    mos = to_numbers(table, column, label_file)
    # Mean ratings of 1 to 5 are another scale than that of MOS_zscore.
    mos_range = (1, HIGHEST_RATING) if mos.max() <= HIGHEST_RATING else (0, 100)
    images = next((name for name in FOLDERS if folder.path(name).is_dir()), FOLDERS[0])
    rows = pd.DataFrame({"file_name": images + "/" + table["image_name"], "mos": mos})
    return RatedImages(
        name="koniq10k",
        root=folder.root,
        images=rated_images(rows, label_file, mos_range, folder),
        mos_range=mos_range,
        scale=f"the column {column} as it is, higher is better",
    )
