"""Recipes: (reference, distortion, level, seed) rebuilds the same pixels anywhere. Names, seeds, splits, paths."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import InputError, StateError
from glint_label.names import as_text, from_text, is_too_long
from glint_label.sources import Condition, Source
from glint_label.sources.kadid10k import LEVELS, NUMBERS

_SEEDS = len(NUMBERS) * len(LEVELS)


def reference_id(reference: str) -> str:
    """Name a reference: the first 16 hex digits of the sha256 of its path below the references root."""
    return hashlib.sha256(reference.encode()).hexdigest()[:16]


def recipe_seeds(reference: str, seed: int, conditions: Sequence[Condition]) -> list[int]:
    """Draw the seeds of one reference's recipes: the only place where they come from.

    A seed is a pure function of the reference, the build's seed, and KADID-10k's number of the distortion with the
    level, so a source with fewer conditions draws the same ones.

    Args:
        reference: As in the manifest: its path below the references root. For a source's anchor, `Source.reference`.
        seed: The build's.
        conditions: (distortion, level) pairs that can be made here.

    Returns:
        One a condition, 0..2^53-1: exact in a float64 column, a spreadsheet and JSON too.
    """
    drawn = draw_seeds(reference, seed).tolist()
    return [drawn[place] for place in seed_places(conditions)]


def draw_seeds(reference: str, seed: int) -> NDArray[np.int64]:
    """Draw the seeds of all recipes that a reference could have, those of `recipe_seeds` among them."""
    stream = hashlib.shake_256(f"{seed}\0{reference}".encode()).digest(8 * _SEEDS)
    return (np.frombuffer(stream, dtype="<u8") >> np.uint64(11)).astype(np.int64)


def seed_places(conditions: Iterable[Condition]) -> list[int]:
    """Tell where among the seeds drawn those of some conditions are."""
    return [(NUMBERS[name] - 1) * len(LEVELS) + level - 1 for name, level in conditions]


def anchor_seeds(source: Source, seed: int, conditions: Sequence[Condition]) -> dict[str, list[int]]:
    """Draw the seeds of every anchor's recipes, as a build of the anchors' folder does."""
    return {name: recipe_seeds(source.reference(name), seed, conditions) for name in source.anchors}


def pixel_name(identity: str, distortion: str, level: int, suffix: str) -> str:
    """Name a pixel file; nothing is ever parsed out of it."""
    return f"{identity}_{NUMBERS[distortion]:02d}_{level}{suffix}"


def split_of(group: str) -> str:
    """Put a tenth of the content groups into `val`, by the hash of the group's first reference."""
    return "val" if int(hashlib.sha256(f"split\0{group}".encode()).hexdigest()[:8], 16) % 10 == 0 else "train"


def reference_path(refs: Path, reference: str) -> Path:
    """Find a reference below its root.

    Raises:
        InputError: The name leads out of the root: a manifest may come from anyone.
    """
    name = PurePosixPath(from_text(reference))
    if name.is_absolute() or ".." in name.parts or "\0" in str(name) or "//" in reference:
        raise InputError(f"{reference!r} leads out of the references root {as_text(refs)}; refused")
    if is_too_long(name):
        raise InputError(f"{reference[:80]!r}...: is longer than the name of any file; refused")
    return refs / name


def pixel_path(folder: Path, file_name: str) -> Path:
    """Find a row's pixel file: always in the shard's own folder, whatever the manifest says.

    Raises:
        StateError: The name leads out of the folder.
    """
    # A Windows path knows both slashes, and drives.
    if is_too_long(PurePosixPath(file_name)):
        raise StateError(f"{folder / 'metadata.csv'}: the file name {file_name[:80]!r}... is too long; refused")
    if PureWindowsPath(file_name).name != file_name or file_name.startswith(".") or as_text(file_name) != file_name:
        raise StateError(f"{folder / 'metadata.csv'}: the file name {file_name!r} leads out of its folder; refused")
    return folder / file_name
