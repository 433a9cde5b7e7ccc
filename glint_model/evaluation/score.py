"""Scores of images: worker processes decode, this one runs the network."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glint_label.engines import run_tasks
from glint_label.errors import ImageError, InputError
from glint_label.images import list_images, read_photo
from glint_label.progress import MakeProgress, no_progress

Pixels = NDArray[np.uint8]
Scorer = Callable[[Pixels], float]  # (H, W, 3) uint8 RGB -> its score
Item = TypeVar("Item")


@dataclass(frozen=True)
class Scored:
    """One image's score; NaN and the reason where there is none."""

    file_name: str
    score: float
    error: str = ""


def list_inputs(paths: Sequence[Path]) -> list[Path]:
    """List images: files as they are given, folders by what lies below them, sorted; each file once.

    Raises:
        InputError: A path does not exist, or a folder holds no image.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(path / name for name in list_images(path)))
        elif path.exists():
            found[path] = None
        else:
            raise InputError(f"{path}: no such file or folder")
    return list(found)


def score_files(
    files: Sequence[Path], scorer: Scorer, workers: int = 0, progress: MakeProgress = no_progress
) -> list[Scored]:
    """Score image files, in their order; a bad image is a row with its reason.

    Args:
        files: Image files.
        scorer: Scores one image.
        workers: Processes that decode; 0 for this one.
        progress: Makes the progress bar, which counts images.
    """
    found = score_made(read_image, enumerate(files), len(files), scorer, workers, progress)
    return [
        Scored(str(file), result) if isinstance(result, float) else Scored(str(file), np.nan, result)
        for file, result in zip(files, (found[number] for number in range(len(files))), strict=True)
    ]


def read_image(item: tuple[int, Path]) -> list[tuple[int, Pixels | str]]:
    """Decode a numbered image file, or tell what is wrong with it: the workers' part."""
    number, path = item
    try:
        return [(number, read_photo(path).pixels)]
    except ImageError as error:
        return [(number, str(error))]


def score_made(
    make: Callable[[Item], list[tuple[int, Pixels | str]]],
    items: Iterable[Item],
    total: int,
    scorer: Scorer,
    workers: int,
    progress: MakeProgress,
) -> dict[int, float | str]:
    """Score images as worker processes make them.

    Args:
        make: Picklable; turns an item into numbered images, or into the reason why there is none.
        items: Picklable, small.
        total: Number of images.
        scorer: Scores one image, in this process.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts images.

    Returns:
        Number -> score, or the reason.
    """
    found: dict[int, float | str] = {}
    with run_tasks(make, items, workers, progress, "images", total, 0, lambda _, images: len(images)) as results:
        for _, images in results:
            for number, image in images:
                found[number] = image if isinstance(image, str) else _finite(scorer(image))
    return found


def _finite(score: float) -> float | str:
    return float(score) if np.isfinite(score) else f"non-finite score ({score}): the checkpoint is unusable"
