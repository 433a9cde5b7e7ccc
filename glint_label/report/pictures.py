"""The workers' part of a report: photos decoded and reduced, and distorted as `render` distorts them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.engines import run_tasks
from glint_label.errors import ImageError
from glint_label.images import Size
from glint_label.progress import MakeProgress
from glint_label.render import Drawing
from glint_label.report.page import Picture
from glint_label.report.sprites import Sheet, Sprites, encode_full, shrink
from glint_label.timeouts import time_limit

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
    with run_tasks(
        make_picture,
        tasks.values(),
        workers,
        progress,
        "pictures",
        len(tasks),
        limit=time_limit(None),
        give_up=lambda _, __: None,
    ) as results:
        for task, made in results:
            if made is not None:
                found[task.key] = made
    return found


def illustrate(
    rows: Sequence[dict[str, Any]],
    tasks: Iterable[PictureTask | None],
    name: str,
    workers: int,
    progress: MakeProgress,
) -> tuple[Sheet | None, list[Picture]]:
    """Give each row its `thumbnail`, None where its picture cannot be made; return their sheet and the full pictures.

    Args:
        rows: Their `key` is that of their task.
        tasks: Of one picture each; None for a row without one.
        name: Of the sheet.
        workers: Processes that make the pictures; 0 for this one.
        progress: Makes the progress bar, which counts pictures.
    """
    wanted = {task.key: task for task in tasks if task is not None}
    made = make_pictures(wanted, workers, progress) if wanted else {}
    sheet = Sprites(name, LARGE)
    full = []
    for row in rows:
        one = made[row["key"]][0] if row["key"] in made else None
        row["thumbnail"] = sheet.add(one.small) if one else None
        if one and one.full is not None:
            full.append(Picture(row["key"], one.full))
    return sheet.finish(), full
