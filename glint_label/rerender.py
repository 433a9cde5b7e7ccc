"""Whether pixel files are what their recipes say: a sample of them is rendered again and compared."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.engines import Loss
from glint_label.errors import ImageError, InputError
from glint_label.images import read_photo
from glint_label.manifest import EVERYTHING, Selection, iterate_shards, read_run, root_of, size_of
from glint_label.manifest.reading import ShardTables, read_shard
from glint_label.names import as_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.render import Drawing, RenderTask, render_tasks, run_references
from glint_label.timeouts import time_limit

SAMPLE = 500  # images of a whole build that are rendered again


@dataclass(frozen=True)
class RerenderReport:
    """What `rerender` found.

    Attributes:
        present: Pixel files that there are, among the rows asked for.
        compared: How many were rendered again.
        faults: (file or reference, what is wrong with it).
    """

    present: int
    compared: int
    faults: tuple[tuple[str, str], ...]


def compare_reference(task: RenderTask) -> list[tuple[str, str]]:
    """Render images of one reference again and compare: (file, what is wrong) of those that differ."""
    photo = Drawing(task.path, task.sha256, task.size)
    faults = []
    for file, distortion, level, seed in task.recipes:
        try:
            there = read_photo(file).pixels
        except ImageError as error:
            faults.append((as_text(file), str(error).removeprefix(f"{as_text(file)}: ")))
            continue
        try:
            wanted = photo.distorted(distortion, level, seed)
        except ImageError as error:
            return [*faults, (task.reference, str(error).removeprefix(f"{as_text(task.path)}: "))]
        if there.shape != wanted.shape:
            faults.append((as_text(file), f"is {_size(there)}, its recipe makes {_size(wanted)}"))
        elif not np.array_equal(there, wanted):
            most = int(np.abs(there.astype(int) - wanted).max())
            faults.append((as_text(file), f"differs from its recipe by up to {most} of 255"))
    return faults


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _present(shard: ShardTables, selection: Selection) -> pd.DataFrame:
    """Keep the rows that pass the filter and have a pixel file."""
    rows = selection.apply(shard.metadata)
    there = {path.name for path in shard.folder.iterdir()}
    return rows[rows["file_name"].isin(there)]


def rerender(
    out: Path,
    refs: Path | None = None,
    selection: Selection = EVERYTHING,
    *,
    sample: int = SAMPLE,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> RerenderReport:
    """Render a sample of a build's pixel files again, and compare; nothing is written.

    Args:
        out: The build.
        refs: The references' root, where it is not the one that run.json names.
        selection: Which rows.
        sample: How many images at most; the same ones each time.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts images.

    Raises:
        GlintError: `out` is not a build or is damaged, or none of the rows has a pixel file.
    """
    run = read_run(out)
    root = root_of(run, refs)
    counts = [(shard.number, len(_present(shard, selection))) for shard in iterate_shards(out)]
    present = sum(count for _, count in counts)
    if not present:
        raise InputError(f"{out}: none of these rows has a pixel file; make them with `glint-label render {out}`")
    chosen = set(Random(0).sample(range(present), min(sample, present)))  # noqa: S311 (a sample, not a secret)
    tasks: list[RenderTask] = []
    first = 0
    for number, count in counts:
        wanted = [first + place in chosen for place in range(count)]
        first += count
        if any(wanted):
            shard = read_shard(out, number)
            rows = _present(shard, selection)[wanted]
            tasks += render_tasks(shard.folder, rows, shard.references, root, size_of(run))
    limit = time_limit(size_of(run))
    with run_references(compare_reference, tasks, len(chosen), workers, progress, limit, _lost) as results:
        faults = [fault for _, found in results for fault in found]
    return RerenderReport(present, len(chosen), tuple(sorted(faults)))


def _lost(task: RenderTask, loss: Loss) -> list[tuple[str, str]]:
    return [(task.reference, loss.message)]
