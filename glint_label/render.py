"""Pixels from recipes: (reference, distortion, level, seed) -> a file."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.engines import Loss, run_tasks
from glint_label.errors import ImageError, InputError, StateError, enough_memory
from glint_label.files import absent_files, write_atomic
from glint_label.folders import lock_folder, refuse_links, remove_temporaries
from glint_label.images import Size, encode_image, read_photo
from glint_label.manifest import (
    EVERYTHING,
    FileFacts,
    Selection,
    iterate_shards,
    pixel_path,
    read_run,
    read_shard,
    reference_path,
    root_of,
    size_of,
)
from glint_label.names import as_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.provenance import differing_codecs
from glint_label.timeouts import TIME_LIMIT, time_limit

if TYPE_CHECKING:
    from glint_label.distortions.prepared import Prepared

Result = TypeVar("Result")

_LOG = logging.getLogger(__name__)

DISTORT = "glint_label.distortions"  # what `Drawing` loads when it is first used; it takes seconds


class Drawing:
    """One photo that is distorted in several ways; it is read when the first image is wanted.

    Args:
        path: The photo.
        sha256: Of the file that was labelled.
        size: What the photo is brought to before.
    """

    def __init__(self, path: Path, sha256: str, size: Size) -> None:
        self._photo = (path, sha256, size)

    def distorted(self, distortion: str, level: int, seed: int) -> NDArray[np.uint8]:
        """Make an image from its recipe: (H, W, 3) uint8 RGB.

        Raises:
            ImageError: The photo cannot be used, or is not the one that was labelled.
        """
        from glint_label.distortions import distort

        with enough_memory(as_text(self._photo[0]), "distort"):
            return distort(self._prepared, distortion, level, seed=seed)

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The photo itself, brought to size: (H, W, 3) uint8 RGB."""
        return read_photo(*self._photo).pixels

    @cached_property
    def _prepared(self) -> "Prepared":
        from glint_label.distortions import prepare

        return prepare(self.pixels)


@dataclass(frozen=True)
class RenderTask:
    """The images of one reference.

    Attributes:
        reference: As in the manifest.
        path: Its file.
        sha256: Of the file that was labelled.
        recipes: (pixel file, distortion, level, seed) of each image.
        size: What the photo is brought to before.
    """

    reference: str
    path: Path
    sha256: str
    recipes: tuple[tuple[Path, str, int, int], ...]
    size: Size


@dataclass(frozen=True)
class Rendered:
    """What was made of one reference.

    Attributes:
        written: The new files.
        present: Those that were there already, which stay.
        failure: (reason, message) where the reference cannot be used.
    """

    written: Mapping[Path, FileFacts] = field(default_factory=dict)
    present: tuple[Path, ...] = ()
    failure: tuple[str, str] | None = None


def render_reference(task: RenderTask) -> Rendered:
    """Make the missing pixel files of one reference: the workers' part.

    Raises:
        OutputError: The disk is full.
    """
    from hashlib import sha256

    absent = set(absent_files(task.recipes[0][0].parent, [recipe[0] for recipe in task.recipes]))
    missing = [recipe for recipe in task.recipes if recipe[0] in absent]
    present = tuple(recipe[0] for recipe in task.recipes if recipe not in missing)
    if not missing:
        return Rendered(present=present)
    reference = Drawing(task.path, task.sha256, task.size)
    written = {}
    try:
        for file, distortion, level, seed in missing:
            content = encode_image(reference.distorted(distortion, level, seed), file.suffix)
            write_atomic(file, content)
            written[file] = FileFacts(len(content), sha256(content).hexdigest())
    except ImageError as error:
        return Rendered(present=present, failure=(error.reason, str(error).removeprefix(f"{as_text(task.path)}: ")))
    return Rendered(written, present)


def render_tasks(
    folder: Path, metadata: pd.DataFrame, references: Sequence[Mapping[str, str]], refs: Path, size: Size
) -> Iterator[RenderTask]:
    """List what is to be rendered in a shard, a task a reference.

    Args:
        folder: The shard's.
        metadata: Its rows, or some of them.
        references: The rows of its references.csv.
        refs: The references' root.
        size: What photos are brought to.

    Raises:
        InputError: A reference's name leads out of the root.
        StateError: A pixel file's name leads out of the shard's folder.
    """
    sha256 = {row["reference"]: row["sha256"] for row in references}
    for name, rows in metadata.groupby("reference", sort=False):
        reference = str(name)
        if reference not in sha256:
            raise StateError(f"{folder / 'references.csv'}: lacks {reference!r}")
        columns = (rows[column].tolist() for column in ("file_name", "dist_name", "dist_level", "seed"))
        recipes = tuple((pixel_path(folder, file), *recipe) for file, *recipe in zip(*columns, strict=True))
        yield RenderTask(reference, reference_path(refs, reference), sha256[reference], recipes, size)


@dataclass(frozen=True)
class RenderReport:
    """What `render_build` did.

    Attributes:
        written: Files made.
        present: Files that were there.
        bytes: Written.
        seconds: Wall time.
        failures: (reference, message) of those that could not be used.
    """

    written: int
    present: int
    bytes: int
    seconds: float
    failures: tuple[tuple[str, str], ...]


def lost_reference(_: object, loss: Loss) -> Rendered:
    """Let a reference that no worker survives be one that cannot be used."""
    return Rendered(failure=(loss.reason, loss.message))


def run_references(
    make: Callable[[RenderTask], Result],
    tasks: Iterable[RenderTask],
    total: int,
    workers: int,
    progress: MakeProgress,
    limit: float,
    give_up: Callable[[RenderTask, Loss], Result],
) -> AbstractContextManager[Iterator[tuple[RenderTask, Result]]]:
    """Run `run_tasks` over references, with a progress bar that counts their images.

    Args:
        make: What a worker does with a reference.
        tasks: The references.
        total: How many images they have.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar.
        limit: Seconds that a reference may take.
        give_up: Makes the result of one that was lost twice.
    """
    return run_tasks(
        make,
        tasks,
        workers,
        progress,
        "images",
        total,
        size=lambda task, _: len(task.recipes),
        limit=limit,
        give_up=give_up,
        loads=DISTORT,
    )


def render_build(
    out: Path,
    refs: Path | None = None,
    selection: Selection = EVERYTHING,
    *,
    strict: bool = False,
    workers: int = 0,
    photo_timeout: float = TIME_LIMIT,
    progress: MakeProgress = no_progress,
) -> RenderReport:
    """Make the pixel files of a build, beside the metadata.csv that names them; those that exist stay.

    A reference that is missing or has changed does not stop the others.

    Args:
        out: The build.
        refs: The references' root, where it is not the one that run.json names.
        selection: Which rows.
        strict: Refuse to go on where the image codecs are not those of the build.
        workers: Processes; 0 for this one.
        photo_timeout: Seconds that a photo of 512 x 384 may take; larger ones may take longer.
        progress: Makes the progress bar, which counts images.

    Raises:
        GlintError: `out` is not a build, is damaged, or is being written by another process; the disk is full.
    """
    started = time.monotonic()
    run = read_run(out)
    check_codecs(out, run, strict)
    root = root_of(run, refs)
    with lock_folder(out):
        refuse_links(out)
        counts = {shard.number: len(selection.apply(shard.metadata)) for shard in iterate_shards(out)}
        total = sum(counts.values())
        if not total:
            raise InputError(f"{out}: no row passes the filter")
        # Read again, one at a time: the recipes of all do not fit into memory.
        shards = (read_shard(out, number) for number, count in counts.items() if count)
        tasks = (
            task
            for shard in shards
            for task in render_tasks(
                shard.folder, selection.apply(shard.metadata), shard.references, root, size_of(run)
            )
        )
        written = present = total_bytes = 0
        failures = []
        limit = time_limit(size_of(run), photo_timeout)
        with run_references(render_reference, tasks, total, workers, progress, limit, lost_reference) as results:
            for task, made in results:
                written += len(made.written)
                present += len(made.present)
                total_bytes += sum(facts.bytes for facts in made.written.values())
                if made.failure is not None:
                    failures.append((task.reference, made.failure[1]))
        remove_temporaries(out)  # of workers and calls that were killed
    seconds = time.monotonic() - started
    return RenderReport(written, present, total_bytes, seconds, tuple(sorted(failures)))


def check_codecs(out: Path, run: Mapping[str, object], strict: bool) -> None:
    """Compare the image codecs with those that a build has been made with: others may give other pixels.

    Raises:
        StateError: They differ, and `strict` is set.
    """
    calls = run.get("calls")
    earlier = [call["versions"] for call in calls] if isinstance(calls, list) else []
    changes = sorted({change for versions in earlier for change in differing_codecs(versions)})
    if not changes:
        return
    message = f"{out}: image codecs differ from those of the build, so pixels may too: {', '.join(changes)}"
    if strict:
        raise StateError(f"{message}; install the versions of the build, or leave --strict out")
    _LOG.warning("%s", message)
