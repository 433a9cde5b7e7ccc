"""The workers' part of a report: photos decoded and reduced, and distorted as `render` distorts them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glint_label.engines import run_tasks
from glint_label.errors import ImageError
from glint_label.images import Size
from glint_label.progress import MakeProgress
from glint_label.render import Drawing
from glint_label.report.sprites import encode_full, shrink

Pixels = NDArray[np.uint8]
SMALL, LARGE = (112, 84), (240, 180)  # px


@dataclass(frozen=True)
class PictureTask:
    """A photo, as it is or distorted.

    Attributes:
        key: By which the result is known.
        path: Its file.
        sha256: Of the file that was labelled; empty to take what is there.
        size: What it is brought to.
        recipes: (distortion, level, seed) of what is made of it; empty for the photo itself.
        full: Which of the pictures, from 0, are wanted at full size too.
        cell: Width and height that the small one must fit into, px.
    """

    key: str
    path: Path
    sha256: str
    size: Size
    recipes: tuple[tuple[str, int, int], ...] = ()
    full: Collection[int] = ()
    cell: tuple[int, int] = SMALL


@dataclass(frozen=True)
class Made:
    """A small picture and, where it was wanted, a WebP file of the full one."""

    small: Pixels
    full: bytes | None


def make_picture(task: PictureTask) -> list[Made] | None:
    """Make the pictures of a task; None where its photo cannot be used any more."""
    try:
        photo = Drawing(task.path, task.sha256, task.size)
        pixels = [photo.distorted(*recipe) for recipe in task.recipes] or [photo.pixels]
    except ImageError:
        return None
    return [
        Made(shrink(one, task.cell), encode_full(one) if number in task.full else None)
        for number, one in enumerate(pixels)
    ]


def make_pictures(tasks: Mapping[str, PictureTask], workers: int, progress: MakeProgress) -> dict[str, list[Made]]:
    """Make pictures, by key; those that cannot be made are not there."""
    found = {}
    with run_tasks(make_picture, tasks.values(), workers, progress, "pictures", len(tasks)) as results:
        for task, made in results:
            if made is not None:
                found[task.key] = made
    return found
