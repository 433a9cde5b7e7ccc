"""LIVE release 2 (Sheikh et al., 2006): 29 contents, 779 distorted images, five distortions.

Official layout: `jp2k/img1.bmp` .. `img227.bmp`, `jpeg` (233), `wn`, `gblur` and `fastfading` (174 each);
`dmos_realigned.mat` with `dmos_new` (0 is undistorted, larger is worse; a few values leave 0..100) and `orgs` (1 for a
copy of a reference); `refnames_all.mat`. The 982 entries follow the folders in that order.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources.folder import find_labels
from glint_model.datasets.matlab import read_numbers, read_texts
from glint_model.datasets.rated import RatedImages, rated_images

FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
BEYOND = 30.0  # the realigned scores reach beyond 0..100, but not that far


def load_live(root: Path) -> RatedImages:
    """Read LIVE release 2; copies of references are left out, as is customary.

    Raises:
        SourceError: A label file is missing or malformed.
    """
    folder, label_file = find_labels(root, ["dmos_realigned.mat"])
    dmos, originals = read_numbers(label_file, "dmos_new"), read_numbers(label_file, "orgs")
    references = read_texts(folder.path("refnames_all.mat"), "refnames_all")
    for values, what in ((dmos, "dmos_new"), (originals, "orgs"), (references, "refnames_all")):
        if len(values) != sum(FOLDERS.values()):
            raise SourceError(
                f"{folder.root}: {what} has {len(values)} entries, not {sum(FOLDERS.values())}; download it again"
            )
    places = [(kind, number) for kind, count in FOLDERS.items() for number in range(1, count + 1)]
    table = pd.DataFrame(
        {
            "file_name": [f"{kind}/img{number}.bmp" for kind, number in places],
            "mos": 100 - dmos,
            "group": references,
            "distortion": [kind for kind, _ in places],
        },
        index=np.arange(1, len(places) + 1),
    )
    distorted = table[originals == 0]
    return RatedImages(
        name="live",
        root=folder.root,
        images=rated_images(distorted, label_file, (0, 100), folder, slack=BEYOND),
        mos_range=(0, 100),
        scale="100 - dmos_new: the realigned DMOS says lower is better",
        distortions=tuple(FOLDERS),
    )
