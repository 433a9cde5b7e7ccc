"""KADID-10k, TID2013 and a user's own ratings: read as sources, which know their anchors.

Official layouts: see `glint_label.sources`. The distorted images of TID2013 are `distorted_images/i01_01_1.bmp`, in
upper or lower case.
"""

from pathlib import Path

import pandas as pd

from glint_label.sources import Source, load_source
from glint_model.datasets.rated import RatedImages, rated_images, true_names

_SCALES = {
    "kadid10k": "the column dmos as it is: in spite of its name, higher is better",
    "tid2013": "the scores as they are, higher is better",
    "custom": "the scores as they are, higher is better",
}


def load_anchored(name: str, root: Path) -> RatedImages:
    """Read a rated source; images of an anchor that is not there are left out and counted.

    Raises:
        SourceError: Malformed or incomplete ratings, or no anchor at all.
    """
    source = load_source(name, root, allow_missing_anchors=True)
    ratings = source.ratings
    table = pd.DataFrame(
        {
            "file_name": _file_names(source),
            "mos": ratings["mos"],
            "group": ratings["anchor"],
            "distortion": ratings["distortion"],
            "level": ratings["level"],
        }
    )
    return RatedImages(
        name=name,
        root=root,
        images=rated_images(table, source.label_file, source.mos_range),
        mos_range=source.mos_range,
        scale=_SCALES[name],
        distortions=source.distortions,
        source=source,
        left_out=len(source.missing_anchors) * len(source.conditions),
    )


def _file_names(source: Source) -> list[str]:
    ratings = source.ratings
    cells = list(zip(ratings["anchor"], ratings["distortion"], ratings["level"], strict=True))
    if source.name == "tid2013":
        numbers = {name: number for number, name in enumerate(source.distortions, start=1)}
        there = true_names(source.root, "distorted_images")
        names = [f"{anchor.lower()}_{numbers[kind]:02d}_{level}.bmp" for anchor, kind, level in cells]
        return [there.get(name, f"distorted_images/{name}") for name in names]
    if source.image_name:
        return [source.image_path(*cell).relative_to(source.root).as_posix() for cell in cells]
    return [f"{anchor}/{kind}/{level}" for anchor, kind, level in cells]
