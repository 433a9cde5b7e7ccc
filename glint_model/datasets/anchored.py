"""KADID-10k, TID2013 and a user's own ratings: read as sources, which know their anchors.

Official layouts: see `glint_label.sources`. The distorted images of TID2013 are `distorted_images/i01_01_1.bmp`.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from glint_label.errors import SourceError
from glint_label.sources import Source
from glint_label.sources.custom import load_custom
from glint_label.sources.folder import DatasetFolder
from glint_label.sources.kadid10k import load_kadid10k
from glint_label.sources.tid2013 import load_tid2013
from glint_model.datasets.rated import TURNED, RatedImages, names_missing, rated_images

_SCALES = {
    "kadid10k": "the column dmos as it is: in spite of its name, higher is better",
    "tid2013": "the scores as they are, higher is better",
    "custom": "the scores as they are, higher is better",
}


class _AnchorsThere(dict[str, Path]):
    """Anchor -> file; one that is not there can be asked for only by who makes pixels of it."""

    def __missing__(self, anchor: str) -> Path:
        raise SourceError(
            f"the anchor {anchor} is not there, and its images cannot be made without it; restore it, choose others, "
            "or read the images with --pixels disk"
        )


def load_anchored(name: str, root: Path, *, higher_is_worse: bool = False) -> RatedImages:
    """Read a rated source; anchors are needed only by who makes the images from them.

    Args:
        name: kadid10k, tid2013 or custom.
        root: Its folder.
        higher_is_worse: Turn the scores of `custom` within their range.

    Raises:
        SourceError: Malformed or incomplete ratings, or no anchor at all where images can only be made from them.
    """
    source = _load(name, root, higher_is_worse)
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
    images = rated_images(table, source.label_file, source.mos_range, DatasetFolder(source.root))
    there = ~images["file_name"].isin(names_missing(source.root, images["file_name"]))
    usable = images["group"].isin(source.anchors) | there
    if not usable.any():
        usable[:] = True  # what is missing then is the images, and they are named by who reads them
    return RatedImages(
        name=name,
        root=source.root,
        images=images[usable].reset_index(drop=True),
        mos_range=source.mos_range,
        scale=f"the scores {TURNED}" if higher_is_worse else _SCALES[name],
        distortions=source.distortions,
        source=replace(source, anchors=_AnchorsThere(source.anchors)),
        unavailable=images[~usable].reset_index(drop=True),
    )


def _load(name: str, root: Path, higher_is_worse: bool) -> Source:
    if name == "kadid10k":
        return load_kadid10k(root, allow_missing_anchors=True, keep_unanchored_ratings=True)
    if name == "tid2013":
        return load_tid2013(root, allow_missing_anchors=True, keep_unanchored_ratings=True)
    return load_custom(root, allow_missing_anchors=True, higher_is_worse=higher_is_worse)


def _file_names(source: Source) -> list[str]:
    ratings = source.ratings
    images = list(zip(ratings["anchor"], ratings["distortion"], ratings["level"], strict=True))
    if source.name == "tid2013":
        numbers = {name: number for number, name in enumerate(source.distortions, start=1)}
        return [f"distorted_images/{anchor.lower()}_{numbers[kind]:02d}_{level}.bmp" for anchor, kind, level in images]
    if source.image_name:
        return [source.image_path(*image).relative_to(source.root).as_posix() for image in images]
    return [f"{anchor}/{kind}/{level}" for anchor, kind, level in images]
