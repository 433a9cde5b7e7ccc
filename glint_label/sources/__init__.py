"""Rated datasets, each read into a Source: anchors, and one rating per (anchor, condition).

`load_source("kadid10k", path)` reads one; a condition is a distortion at a level.
"""

import os
from math import inf
from pathlib import Path

import platformdirs

from glint_label.errors import SourceError, UsageError
from glint_label.sources.custom import load_custom
from glint_label.sources.kadid10k import can_be_made, load_kadid10k
from glint_label.sources.source import Condition, Source
from glint_label.sources.tid2013 import load_tid2013
from glint_label.storage import place_of

__all__ = [
    "FETCHED",
    "SOURCES",
    "Condition",
    "Source",
    "can_be_made",
    "find_source_dir",
    "how_to_get",
    "load_source",
    "not_found",
    "require_source_dir",
    "source_places",
]

SOURCES = ("kadid10k", "tid2013", "custom")
FETCHED = ("kadid10k", "tid2013")  # those that `glint-label fetch` downloads


def check_source_name(name: str) -> None:
    """Refuse a name that is none of SOURCES.

    Raises:
        UsageError: Names the known ones.
    """
    if name not in SOURCES:
        raise UsageError(f"unknown source {name!r}; known are {', '.join(SOURCES)}")


def load_source(
    name: str,
    path: Path | str | None = None,
    *,
    allow_missing_anchors: bool = False,
    mos_range: tuple[float, float] | None = None,
    higher_is_worse: bool = False,
) -> Source:
    """Read a rated dataset.

    Args:
        name: One of SOURCES.
        path: Its folder, or its address; by default one of `source_places(name)`.
        allow_missing_anchors: Go on with the anchors that are there.
        mos_range: Lowest and highest possible score, for `custom`; the others declare their own.
        higher_is_worse: Turn the scores of `custom` within their range, as DMOS and the like need.

    Raises:
        UsageError: Unknown name, or `mos_range` or `higher_is_worse` for a source that declares its own.
        SourceError: The dataset is not there, malformed or incomplete.
    """
    check_source_name(name)
    if mos_range is not None and name != "custom":
        raise UsageError(f"--mos-range is for --source custom; {name} declares its own range")
    if higher_is_worse and name != "custom":
        raise UsageError(f"--higher-is-worse is for your own ratings; the scale of {name} is known")
    if mos_range is not None and not -inf < mos_range[0] < mos_range[1] < inf:
        raise UsageError(f"--mos-range {mos_range[0]:g} {mos_range[1]:g}: must be two numbers, the lower one first")
    root = place_of(path) if path is not None else require_source_dir(name)
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder; pass the folder of {name} with --source-dir")
    if name == "kadid10k":
        return load_kadid10k(root, allow_missing_anchors=allow_missing_anchors)
    if name == "tid2013":
        return load_tid2013(root, allow_missing_anchors=allow_missing_anchors)
    return load_custom(
        root, allow_missing_anchors=allow_missing_anchors, mos_range=mos_range, higher_is_worse=higher_is_worse
    )


def source_places(name: str) -> list[Path]:
    """List the folders in which a source is looked for, in order: ./NAME, $GLINT_DATA/NAME, the user's data folder.

    Where $GLINT_DATA is set, it is believed: the user's data folder is not looked at.
    """
    data = os.environ.get("GLINT_DATA")
    return [Path(name), place_of(data) / name if data else platformdirs.user_data_path("glint-label") / name]


def find_source_dir(name: str) -> Path | None:
    """Find a source's folder among `source_places`; None where it is in none of them.

    Raises:
        SourceError: $GLINT_DATA is set and does not hold it: a mistyped folder must not go unnoticed.
    """
    places = source_places(name)
    found = next((place for place in places if place.is_dir()), None)
    if found is None and os.environ.get("GLINT_DATA"):
        raise SourceError(
            f"{places[1]}: no such folder, though $GLINT_DATA is set; correct or unset it, {how_to_get(name)}"
        )
    return found


def not_found(name: str) -> str:
    """Say where a source was looked for in vain."""
    return f"{name} was not found (tried {', '.join(map(str, source_places(name)))})"


def how_to_get(name: str) -> str:
    """Say what to do where a source is not on this machine."""
    fetch = f"download it with `glint-label fetch {name}`, or " if name in FETCHED else ""
    return f"{fetch}pass its folder with --source-dir"


def require_source_dir(name: str) -> Path:
    """Find a source's folder; see `find_source_dir`.

    Raises:
        SourceError: It is nowhere.
    """
    found = find_source_dir(name)
    if found is None:
        raise SourceError(f"{not_found(name)}; {how_to_get(name)}")
    return found
