"""The labels of a build: vectors and features in, rows out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glint_label.build.fit import FitSource
from glint_label.build.groups import GroupedShard, group_contents
from glint_label.build.photos import MeasureWatched
from glint_label.build.plan import Plan
from glint_label.build.stage import Stage
from glint_label.embed import EmbeddedPhotos
from glint_label.engines import run_tasks
from glint_label.files import write_atomic
from glint_label.manifest import (
    METADATA_COLUMNS,
    REFERENCES_COLUMNS,
    ShardCounts,
    draw_seeds,
    format_csv,
    format_list,
    format_many,
    format_numbers,
    pixel_name,
    quote,
    read_record,
    record_time,
    reference_id,
    seed_places,
    shard_folder,
)
from glint_label.manifest.shards import LABELLED, MEASURED
from glint_label.progress import MakeProgress
from glint_label.sources import Condition
from glint_label.sources.kadid10k import NUMBERS
from glint_label.transfer import Labels, Transfer
from glint_label.transfer.neighbours import AnchorIndex


class LabelShards(Stage):
    """shards/N/metadata.csv and references.csv: neighbours, labels, splits.

    Args:
        plan: The build.
        fit: Gives the fitted source.
        watched: Gives the pictures that references are compared with.
        progress: Makes the progress bar.
    """

    def __init__(self, plan: Plan, fit: FitSource, watched: MeasureWatched, progress: MakeProgress) -> None:
        self._plan = plan
        self._fit = fit
        self._watched = watched
        self._progress = progress
        self._fresh: dict[int, ShardCounts] = {}  # labelled by this call
        self._whole: dict[int, tuple[int | None, ShardCounts]] = {}  # found whole, with the time of their record

    def missing(self) -> Sequence[int]:
        """Number the shards whose tables are missing, damaged, or of other photos."""
        return [shard.number for shard in self._plan.shards if self.counts(shard.number) is None]

    def make(self, missing: Sequence[int]) -> None:
        """Label them."""
        plan, config, fitted = self._plan, self._plan.config, self._fit.fitted
        anchors = fitted.anchors
        task = LabelTask(
            out=config.out,
            anchors=anchors.names,
            anchor_vectors=plan.embedder.normalise(anchors.vectors, anchors.vectors),
            conditions=plan.conditions,
            mean_score=fitted.mean_score,
            mos_range=plan.source.mos_range,
            transfer=fitted.transfer,
            k=config.k,
            min_similarity=config.min_similarity,
            seed=config.seed,
            suffix=config.suffix,
        )
        groups = group_contents(plan, anchors, self._watched.photos(), missing)
        sizes = {number: len(plan.shards[number].names) for number in missing}
        total = len(plan.names)
        with run_tasks(
            task,
            groups,
            config.workers,
            self._progress,
            "labels",
            total,
            total - sum(sizes.values()),
            lambda group, _: sizes[group.number],
        ) as results:
            for group, counts in results:
                self._fresh[group.number] = counts

    def counts(self, number: int) -> ShardCounts | None:
        """Tell what a shard holds; None where it is to be labelled."""
        if number in self._fresh:
            return self._fresh[number]
        folder = shard_folder(self._plan.config.out, number)
        written = record_time(folder)
        known = self._whole.get(number)
        if known is not None and known[0] == written:
            return known[1]
        record = read_record(folder)
        if record is None or record.config_sha256 != self._plan.digest:
            return None
        if record.broken(folder, (*LABELLED, *MEASURED), hashed=True):
            return None
        self._whole[number] = written, record.counts
        return record.counts

    def forget(self) -> None:
        """Label all shards again: photos were lost."""
        self._fresh.clear()


@dataclass(frozen=True)
class LabelTask:
    """The workers' part: find neighbours, transfer, write the shard's tables.

    Attributes:
        out: The build's folder.
        anchors: Names.
        anchor_vectors: (anchors, d) float32, unit length.
        conditions: (distortion, level) of each label of a reference.
        mean_score: Mean of the conditions' mean ratings, which mos_offset is counted from.
        mos_range: Labels are kept inside.
        transfer: Fitted.
        k: Neighbours listed.
        min_similarity: References whose nearest anchor is less similar get no labels.
        seed: The build's.
        suffix: Ending of the pixel files.
    """

    out: Path
    anchors: Sequence[str]
    anchor_vectors: NDArray[np.float32]
    conditions: Sequence[Condition]
    mean_score: float
    mos_range: tuple[float, float]
    transfer: Transfer
    k: int
    min_similarity: float | None
    seed: int
    suffix: str

    @cached_property
    def _index(self) -> AnchorIndex:
        return AnchorIndex(self.anchor_vectors)

    def __call__(self, group: GroupedShard) -> ShardCounts:
        """Label one shard and write its tables."""
        folder = shard_folder(self.out, group.number)
        measured = group.photos
        nearest, similarities = self._index.nearest(group.vectors, self.k)
        labels = self.transfer.label(group.vectors, group.features if self.transfer.uses_features else None)
        lowest = -np.inf if self.min_similarity is None else self.min_similarity
        kept = [bool(best >= lowest) and not out for best, out in zip(similarities[:, 0], group.excluded, strict=True)]
        references = self._reference_rows(measured, group, nearest, similarities, labels, kept)
        write_atomic(folder / "references.csv", format_csv(REFERENCES_COLUMNS, references))
        write_atomic(folder / "metadata.csv", self._metadata(measured, group, nearest, similarities, labels, kept))
        excluded = sum(group.excluded)
        abstained = kept.count(False) - excluded
        return ShardCounts(len(measured.names), abstained, excluded, group.failed, sum(kept) * len(self.conditions))

    def _metadata(
        self,
        measured: EmbeddedPhotos,
        group: GroupedShard,
        nearest: NDArray[np.int64],
        similarities: NDArray[np.float32],
        labels: Labels,
        kept: Sequence[bool],
    ) -> Iterator[str]:
        """Write the lines of each reference: all but seeds and labels are the same for all, or for its own."""
        yield format_csv(METADATA_COLUMNS, [])
        rows, count = np.flatnonzero(kept).tolist(), len(self.conditions)
        mos = format_many(np.clip(labels.mos[rows], *self.mos_range).ravel())
        error = format_many(labels.mos_error[rows].ravel())
        alike = format_numbers(similarities[rows, 0].tolist())
        places = seed_places(self.conditions)
        endings = [pixel_name("", *condition, self.suffix) for condition in self.conditions]
        recipes = [f"{NUMBERS[name]},{quote(name)},{level}" for name, level in self.conditions]
        for number, row in enumerate(rows):
            name = measured.names[row]
            identity, span = reference_id(name), slice(number * count, (number + 1) * count)
            seeds = draw_seeds(name, self.seed)[places].tolist()
            which = f"{quote(name)},{identity}"
            rest = f"{quote(self.anchors[nearest[row, 0]])},{alike[number]},{group.splits[row]}\n"
            yield "".join(
                [
                    f"{identity}{ending},{which},{recipe},{seed},{score},{deviation},{rest}"
                    for ending, recipe, seed, score, deviation in zip(
                        endings, recipes, seeds, mos[span], error[span], strict=True
                    )
                ]
            )

    def _reference_rows(
        self,
        measured: EmbeddedPhotos,
        group: GroupedShard,
        nearest: NDArray[np.int64],
        similarities: NDArray[np.float32],
        labels: Labels,
        kept: Sequence[bool],
    ) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for index, name in enumerate(measured.names):
            offset = float(np.clip(labels.mos[index], *self.mos_range).mean()) - self.mean_score
            weights = labels.weights[index, nearest[index]].tolist() if kept[index] else []
            rows.append(
                (
                    reference_id(name),
                    name,
                    measured.sha256[index],
                    *measured.sizes[index].tolist(),
                    group.number,
                    json.dumps([self.anchors[anchor] for anchor in nearest[index]], ensure_ascii=False),
                    format_list(similarities[index].tolist()),
                    format_list(weights),
                    format_numbers([offset])[0] if kept[index] else "",
                    group.splits[index] if kept[index] else "",
                    group.near_duplicates[index],
                )
            )
        return rows
