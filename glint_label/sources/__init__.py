"""Rated datasets: `load_source("kadid10k", path)`."""

import os
from pathlib import Path

import platformdirs

from glint_label.errors import SourceError, UsageError
from glint_label.sources.custom import load_custom
from glint_label.sources.kadid10k import load_kadid10k
from glint_label.sources.source import Cell, Source
from glint_label.sources.tid2013 import load_tid2013

__all__ = ["SOURCES", "Cell", "Source", "find_source_dir", "load_source", "source_places"]

SOURCES = ("kadid10k", "tid2013", "custom")


def load_source(
    name: str,
    path: Path | str | None = None,
    *,
    allow_missing_anchors: bool = False,
    mos_range: tuple[float, float] | None = None,
) -> Source:
    """Read a rated dataset.

    Args:
        name: One of SOURCES.
        path: Its folder; by default `find_source_dir(name)`.
        allow_missing_anchors: Go on with the anchors that are there.
        mos_range: Lowest and highest possible score, for `custom`; the others declare their own.

    Raises:
        UsageError: Unknown name, or `mos_range` for a source that declares its own.
        SourceError: The dataset is not there, malformed or incomplete.
    """
    if name not in SOURCES:
        raise UsageError(f"unknown source {name!r}; known are {', '.join(SOURCES)}")
    if mos_range is not None and name != "custom":
        raise UsageError(f"--mos-range is for --source custom; {name} declares its own range")
    if mos_range is not None and not mos_range[0] < mos_range[1]:
        raise UsageError(f"--mos-range {mos_range[0]:g} {mos_range[1]:g}: the first must be the lower one")
    root = Path(path) if path is not None else find_source_dir(name)
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder; pass the folder of {name} with --source-dir")
    if name == "kadid10k":
        return load_kadid10k(root, allow_missing_anchors=allow_missing_anchors)
    if name == "tid2013":
        return load_tid2013(root, allow_missing_anchors=allow_missing_anchors)
    return load_custom(root, allow_missing_anchors=allow_missing_anchors, mos_range=mos_range)


def source_places(name: str) -> list[Path]:
    """List the folders in which a source is looked for, in order."""
    places = [Path(name)]
    if data := os.environ.get("GLINT_DATA"):
        places.append(Path(data) / name)
    places.append(platformdirs.user_data_path("glint-label") / name)
    return places


def find_source_dir(name: str) -> Path:
    """Find a source's folder: ./NAME, $GLINT_DATA/NAME, the user's data folder.

    Raises:
        SourceError: It is in none of them.
    """
    places = source_places(name)
    for place in places:
        if place.is_dir():
            return place
    tried = ", ".join(str(place) for place in places)
    raise SourceError(f"{name} was not found (tried {tried}); pass its folder with --source-dir")
