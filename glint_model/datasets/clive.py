"""LIVE In the Wild, or CLIVE (Ghadiyaram and Bovik, 2016): 1,162 photos, each its own content.

Official layout (ChallengeDB_release): `Data/AllImages_release.mat`, `Data/AllMOS_release.mat`, `Images/`. The first
seven entries, in `Images/trainingImages/`, trained the raters and are not evaluated.
"""

from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_model.datasets.matlab import read_numbers, read_texts
from glint_model.datasets.rated import RatedImages, check_count, rated_images

IMAGES = 1162
TRAINING_IMAGES = 7


def load_clive(root: Path) -> RatedImages:
    """Read CLIVE.

    Raises:
        SourceError: A label file is missing, malformed or incomplete.
    """
    folder, label_file = find_labels(root, ["Data/AllMOS_release.mat"])
    names = read_texts(folder.path("Data/AllImages_release.mat"), "AllImages_release")
    mos = read_numbers(label_file, "AllMOS_release")
    if len(names) != len(mos):
        raise SourceError(f"{label_file}: {len(mos)} scores for {len(names)} images; download both again")
    table = pd.DataFrame({"file_name": [f"Images/{name}" for name in names], "mos": mos})
    table.index += 1
    table = table.iloc[TRAINING_IMAGES:]
    check_count(table, label_file, IMAGES)
    return RatedImages(
        name="clive",
        root=folder.root,
        images=rated_images(table, label_file, (0, 100), folder),
        mos_range=(0, 100),
        scale="the scores as they are, higher is better",
    )
