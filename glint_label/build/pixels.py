"""The last stage of a shard: its pixels, where they are asked for, and the record that says it is done."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glint_label.build.labels import LabelShards
from glint_label.build.photos import MeasurePhotos
from glint_label.build.plan import Plan
from glint_label.build.stage import Stage
from glint_label.engines import run_tasks
from glint_label.manifest import (
    FileFacts,
    read_record,
    record_time,
    shard_folder,
    write_record,
)
from glint_label.manifest.shards import LABELLED, MEASURED
from glint_label.manifest.tables import read_metadata, read_references
from glint_label.progress import MakeProgress
from glint_label.render import DISTORT, Rendered, RenderTask, lost_reference, render_reference, render_tasks

_TOGETHER = 4  # records written at once


class FinishShards(Stage):
    """shards/N/*.png and _SUCCESS.json.

    Args:
        plan: The build.
        photos: Is told of photos that have vanished or changed since they were measured.
        labels: Knows what each shard holds.
        progress: Makes the progress bar.
    """

    def __init__(self, plan: Plan, photos: MeasurePhotos, labels: LabelShards, progress: MakeProgress) -> None:
        self._plan = plan
        self._photos = photos
        self._labels = labels
        self._progress = progress
        self._whole: dict[int, int | None] = {}  # shards found whole -> time of their record

    def missing(self) -> Sequence[int]:
        """Number the shards that are not whole."""
        return [shard.number for shard in self._plan.shards if not self._is_done(shard.number)]

    def make(self, missing: Sequence[int]) -> None:
        """Render them and mark each as done when its last image is."""
        if self._plan.config.images == "none":
            with ThreadPoolExecutor(_TOGETHER) as pool:  # they wait for the disk
                for _ in pool.map(lambda number: self._finish(number, {}), missing):
                    pass
            return
        waiting: dict[int, int] = {}  # references of each shard that are not rendered yet
        pixels: dict[int, dict[str, FileFacts]] = {number: {} for number in missing}
        lost: dict[RenderTask, tuple[str, str]] = {}
        total = sum(counts.rows for number in missing if (counts := self._labels.counts(number)) is not None)
        with run_tasks(
            _render,
            self._tasks(missing, waiting),
            self._plan.config.workers,
            self._progress,
            "pixels",
            total,
            0,
            lambda item, _: len(item[1].recipes),
            limit=self._plan.config.seconds_a_photo,
            give_up=lost_reference,
            loads=DISTORT,
        ) as results:
            for (number, task), made in results:
                if made.failure is not None:
                    lost[task] = made.failure
                    continue
                files = {**made.written, **{path: FileFacts.of(path) for path in made.present}}
                pixels[number] |= {path.name: facts for path, facts in files.items()}
                waiting[number] -= 1
                if not waiting[number]:
                    self._finish(number, pixels.pop(number))
        if lost:
            self._drop(lost)

    def _is_done(self, number: int) -> bool:
        folder = shard_folder(self._plan.config.out, number)
        written = record_time(folder)
        if self._whole.get(number) != written:
            record = read_record(folder)
            if record is None or record.config_sha256 != self._plan.digest:
                return False
            # A table that is whole and has another hash in the record: it is the record that is damaged.
            if record.broken(folder) or record.broken(folder, (*LABELLED, *MEASURED), hashed=True):
                return False
            self._whole[number] = written
        return written is not None

    def _tasks(self, missing: Sequence[int], waiting: dict[int, int]) -> Iterator[tuple[int, RenderTask]]:
        """List what is to be rendered, shard by shard, and count it in `waiting`: not all recipes fit into memory."""
        for number in missing:
            tasks = self._tasks_of(number)
            waiting[number] = len(tasks)
            if not tasks:
                self._finish(number, {})
            yield from ((number, task) for task in tasks)

    def _tasks_of(self, number: int) -> list[RenderTask]:
        folder = shard_folder(self._plan.config.out, number)
        if (record := read_record(folder)) is not None:
            for name in record.broken(folder):  # cut pixels are made anew; whole ones stay
                if Path(name).suffix == self._plan.config.suffix:
                    (folder / name).unlink(missing_ok=True)
        rows = read_metadata(folder / "metadata.csv")
        references = read_references(folder / "references.csv")
        return list(render_tasks(folder, rows, references, self._plan.refs, self._plan.config.size))

    def _finish(self, number: int, pixels: dict[str, FileFacts]) -> None:
        counts = self._labels.counts(number)
        if counts is not None:
            write_record(shard_folder(self._plan.config.out, number), self._plan.digest, counts, pixels)

    def _drop(self, lost: dict[RenderTask, tuple[str, str]]) -> None:
        """Take lost photos out, with what was rendered of them, and let everything be labelled without them."""
        for task in lost:
            for file, *_ in task.recipes:
                file.unlink(missing_ok=True)
        self._photos.drop({task.reference: failure for task, failure in lost.items()})
        self._labels.forget()


def _render(item: tuple[int, RenderTask]) -> Rendered:
    return render_reference(item[1])
