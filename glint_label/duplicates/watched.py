"""Pictures that references are compared with besides the anchors: those that must not leak into a training set."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glint_label.errors import InputError
from glint_label.files import sha256_of
from glint_label.listing import list_all_images
from glint_label.names import as_text, from_text
from glint_label.sources import Source


@dataclass(frozen=True)
class Watched:
    """One such picture.

    Attributes:
        value: What near_duplicate_of says of its copies: `anchor:NAME` or `excluded:NAME`.
        path: Its file.
        drop: Its copies get no labels; else they are only named.
    """

    value: str
    path: Path
    drop: bool


def watched_pictures(source: Source, held_out: Iterable[str], exclude_near: Path | None) -> tuple[Watched, ...]:
    """List the anchors that labels may not use, whose copies are named, and the images whose copies are dropped.

    Args:
        source: With all its anchors.
        held_out: Names of anchors; those that have no file here cannot be watched.
        exclude_near: Folder of images, for instance a benchmark's; subfolders count.

    Raises:
        InputError: The folder does not exist or holds no image, or something in it would be passed over.
    """
    present = (name for name in held_out if name in source.anchors)
    anchors = [Watched(f"anchor:{name}", source.anchors[name].resolve(), drop=False) for name in present]
    if exclude_near is None:
        return tuple(anchors)
    root = exclude_near.resolve()
    names = list_all_images(root)
    return (*anchors, *(Watched(f"excluded:{name}", root / from_text(name), drop=True) for name in names))


def describe_watched(watched: Sequence[Watched]) -> dict[str, Any]:
    """Count and hash names and contents, for the settings of a build; None where there are none of a kind."""
    kinds = {"held_out_anchors": False, "exclude_near": True}
    return {setting: _describe([one for one in watched if one.drop is drop]) for setting, drop in kinds.items()}


def _describe(watched: Sequence[Watched]) -> dict[str, Any] | None:
    if not watched:
        return None
    listing = "\n".join(f"{_hash(one.path)} {one.value}" for one in watched)
    return {"count": len(watched), "sha256": hashlib.sha256(listing.encode()).hexdigest()}


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(
            f"{as_text(path)}: cannot be read ({error.strerror}), so its copies cannot be found; restore the file, or "
            "take it out of the folder"
        ) from error
