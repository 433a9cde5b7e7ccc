"""Scores of images: worker processes decode, this one runs the network."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from glint_label.engines import Loss, run_tasks
from glint_label.errors import ImageError, InputError, enough_memory
from glint_label.files import sha256_of
from glint_label.images import read_photo
from glint_label.listing import list_images
from glint_label.names import as_text, from_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.timeouts import TIME_LIMIT
from glint_model.evaluation.kept import KeptScores

_LOG = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Scorer = Callable[[Pixels], float]  # (H, W, 3) uint8 RGB -> its score
Numbers = tuple[float, ...]
Measure = Callable[[Pixels], Numbers]
Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)


@dataclass(frozen=True)
class Scored:
    """One image's score; NaN and the reason where there is none. Its name is as `names.as_text` writes it."""

    file_name: str
    score: float
    error: str = ""


class MadeImage(NamedTuple):
    """An image as a worker hands it over.

    Attributes:
        number: Which one.
        image: (H, W, 3) uint8 RGB; or why there is none; or None, where its score is known.
        made_of: All that its pixels depend on; empty where there are none.
        measured: What the worker has measured of it.
    """

    number: int
    image: Pixels | str | None
    made_of: str = ""
    measured: Numbers = ()


class MakeImages(Protocol[Item_contra]):
    """The workers' part: make images, or tell what is wrong with them. Picklable."""

    def __call__(self, item: Item_contra) -> list[MadeImage]:
        """Make the images of an item."""

    def lose(self, item: Item_contra, loss: Loss) -> list[MadeImage]:
        """Say of the images of an item that no worker survives it."""


def list_inputs(paths: Sequence[Path]) -> list[Path]:
    """List images: files as they are given, folders by what lies below them, sorted; each file once.

    What is passed over in a folder is logged.

    Raises:
        InputError: A path does not exist, or a folder holds no image.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            listing = list_images(path)
            found.update(dict.fromkeys(path / from_text(name) for name in listing.names))
            if listing.passed_over:
                _LOG.warning("%s: %s", as_text(path), listing.passed_over)
        elif path.exists():
            found[path] = None
        else:
            raise InputError(f"{as_text(path)}: no such file or folder")
    return list(found)


def score_files(
    files: Sequence[Path],
    scorer: Scorer,
    workers: int = 0,
    progress: MakeProgress = no_progress,
    kept: KeptScores | None = None,
) -> list[Scored]:
    """Score image files, in their order; a bad image is a row with its reason.

    Args:
        files: Image files.
        scorer: Scores one image.
        workers: Processes that decode; 0 for this one.
        progress: Makes the progress bar, which counts images.
        kept: Where scores are kept until they are written, and those of an earlier call.
    """
    kept = kept or KeptScores()
    found = score_made(ReadImage(kept.known), enumerate(files), len(files), scorer, workers, progress, kept)
    return [
        Scored(as_text(file), np.nan, result) if isinstance(result, str) else Scored(as_text(file), result[0])
        for file, result in zip(files, (found[number] for number in range(len(files))), strict=True)
    ]


@dataclass(frozen=True)
class ReadImage:
    """The workers' part: decode a numbered image file, or tell what is wrong with it.

    Attributes:
        known: sha256 of files whose scores are known.
        measure: Picklable; what else to measure of each image.
    """

    known: frozenset[str] = frozenset()
    measure: Measure | None = None

    def __call__(self, item: tuple[int, Path]) -> list[MadeImage]:
        """Decode it; by its bytes a file is known, as a date says little of what is in it."""
        number, path = item
        try:
            if self.known and (sha256 := sha256_of(path)) in self.known:
                return [MadeImage(number, None, sha256)]
            photo = read_photo(path)
            if photo.warning:
                _LOG.warning("%s: %s", as_text(path), photo.warning)
        except ImageError as error:
            return [MadeImage(number, str(error))]
        except OSError as error:
            return [MadeImage(number, f"{as_text(path)}: {error.strerror}")]
        measured = self.measure(photo.pixels) if self.measure else ()
        return [MadeImage(number, photo.pixels, photo.sha256, measured)]

    def lose(self, item: tuple[int, Path], loss: Loss) -> list[MadeImage]:
        """Say of an image file that no worker survives it."""
        number, path = item
        return [MadeImage(number, f"{as_text(path)}: {loss.message}")]


def score_made(
    make: MakeImages[Item],
    items: Iterable[Item],
    total: int,
    scorer: Scorer,
    workers: int,
    progress: MakeProgress,
    kept: KeptScores,
) -> dict[int, Numbers | str]:
    """Score images as worker processes make them.

    Args:
        make: Turns an item into images.
        items: Picklable, small.
        total: Number of images.
        scorer: Scores one image, in this process.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts images.
        kept: Gets each score as it is made, with what was measured, and gives those that are known.

    Returns:
        Number -> score and what the worker measured, or the reason why there is no score.
    """
    found: dict[int, Numbers | str] = {}
    with run_tasks(
        make,
        items,
        workers,
        progress,
        "images",
        total,
        size=lambda _, images: len(images),
        limit=TIME_LIMIT,
        give_up=make.lose,
    ) as results:
        for _, images in results:
            for number, image, made_of, measured in images:
                if image is None:
                    found[number] = kept.reuse(made_of)
                elif isinstance(image, str):
                    found[number] = image
                elif isinstance(score := _score(image, scorer), str):
                    found[number] = score
                else:
                    found[number] = (score, *measured)
                    kept.add(made_of, (score, *measured))
    return found


def _score(image: Pixels, scorer: Scorer) -> float | str:
    """Score an image, or tell why there is no score."""
    try:
        with enough_memory(f"{image.shape[1]} x {image.shape[0]} pixels", "score"):
            score = float(scorer(image))
    except ImageError as error:
        return str(error)
    return score if np.isfinite(score) else f"non-finite score ({score}): the checkpoint is unusable"
