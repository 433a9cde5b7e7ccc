"""The second stage of a shard: vectors in, rows out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glint_label.files import sha256_of, write_atomic
from glint_label.manifest import (
    METADATA_COLUMNS,
    REFERENCES_COLUMNS,
    format_csv,
    format_list,
    format_numbers,
    recipe_seeds,
    ref_id,
    shard_folder,
)
from glint_label.neighbours import AnchorIndex
from glint_label.shards import Measured, read_measured
from glint_label.sources.kadid10k import DISTORTIONS, LEVELS
from glint_label.transfer import Labels, Transfer
from glint_label.visibility_shards import read_visibility

# A recipe's seed belongs to (KADID-10k's number, level), so that a source with fewer distortions draws the same ones.
_NUMBERS = {name: number for number, name in enumerate(DISTORTIONS, start=1)}
_SEEDS = len(DISTORTIONS) * len(LEVELS)


@dataclass(frozen=True)
class Group:
    """What the whole set of references says of one shard's.

    Attributes:
        number: The shard's.
        vectors: (n, d) float32, unit length.
        splits: One a reference.
        near_duplicates: Value of the column near_duplicate_of, one a reference.
        excluded: References that get no labels because they are pictures of `--exclude-near`.
    """

    number: int
    vectors: NDArray[np.float32]
    splits: tuple[str, ...]
    near_duplicates: tuple[str, ...]
    excluded: tuple[bool, ...]


@dataclass(frozen=True)
class ShardCounts:
    """What a finished shard holds."""

    references: int
    abstained: int
    excluded: int
    failed: int
    rows: int


@dataclass(frozen=True)
class LabelShards:
    """The workers' part of the second stage: find neighbours, transfer, write the shard's tables.

    Attributes:
        out: The build's folder.
        anchors: Names.
        anchor_vectors: (anchors, d) float32, unit length.
        cells: (distortion, level) of each label of a reference.
        cell_mean: Mean of the cells' mean ratings, which mos_offset is counted from.
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
    cells: Sequence[tuple[str, int]]
    cell_mean: float
    mos_range: tuple[float, float]
    transfer: Transfer
    k: int
    min_similarity: float | None
    seed: int
    suffix: str

    @cached_property
    def _index(self) -> AnchorIndex:
        return AnchorIndex(self.anchor_vectors)

    def __call__(self, group: Group) -> ShardCounts:
        """Label one shard and write its tables."""
        folder = shard_folder(self.out, group.number)
        measured = read_measured(folder)
        nearest, similarities = self._index.nearest(group.vectors, self.k)
        visibility = read_visibility(folder) if self.transfer.uses_visibility else None
        labels = self.transfer.label(group.vectors, visibility)
        lowest = -np.inf if self.min_similarity is None else self.min_similarity
        kept = [bool(best >= lowest) and not out for best, out in zip(similarities[:, 0], group.excluded, strict=True)]
        references = self._reference_rows(measured, group, nearest, similarities, labels, kept)
        write_atomic(folder / "references.csv", format_csv(REFERENCES_COLUMNS, references))
        rows = []
        for index, name in enumerate(measured.names):
            if kept[index]:
                anchor = self.anchors[nearest[index, 0]]
                rows += self._rows(name, labels, index, anchor, similarities[index, 0], group.splits[index])
        write_atomic(folder / "metadata.csv", format_csv(METADATA_COLUMNS, rows))
        excluded = sum(group.excluded)
        abstained = kept.count(False) - excluded
        return ShardCounts(len(measured.names), abstained, excluded, len(measured.failures), len(rows))

    def _rows(
        self, name: str, labels: Labels, index: int, anchor: str, similarity: np.float32, split: str
    ) -> list[tuple[object, ...]]:
        identity = ref_id(name)
        seeds = recipe_seeds(name, self.seed, _SEEDS).tolist()
        mos = [f"{score:.4f}" for score in np.clip(labels.mos[index], *self.mos_range).tolist()]
        std = [f"{deviation:.4f}" for deviation in labels.mos_std[index].tolist()]
        (alike,) = format_numbers([float(similarity)])
        rows: list[tuple[object, ...]] = []
        for (distortion, level), score, deviation in zip(self.cells, mos, std, strict=True):
            number = _NUMBERS[distortion]
            seed = seeds[(number - 1) * len(LEVELS) + level - 1]
            file_name = f"{identity}_{number:02d}_{level}{self.suffix}"
            rows.append(
                (
                    file_name,
                    name,
                    identity,
                    number,
                    distortion,
                    level,
                    seed,
                    score,
                    deviation,
                    anchor,
                    alike,
                    split,
                )
            )
        return rows

    def _reference_rows(
        self,
        measured: Measured,
        group: Group,
        nearest: NDArray[np.int64],
        similarities: NDArray[np.float32],
        labels: Labels,
        kept: Sequence[bool],
    ) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for index, name in enumerate(measured.names):
            offset = float(np.clip(labels.mos[index], *self.mos_range).mean()) - self.cell_mean
            weights = labels.weights[index, nearest[index]].tolist() if kept[index] else []
            rows.append(
                (
                    ref_id(name),
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


TABLES = ("metadata.csv", "references.csv", "failed.csv")


def write_success(folder: Path, digest: str, counts: ShardCounts) -> None:
    """Mark a shard as done: configuration, counts and the hash of each table."""
    success = {
        "config_sha256": digest,
        "references": counts.references,
        "abstained": counts.abstained,
        "excluded": counts.excluded,
        "failed": counts.failed,
        "rows": counts.rows,
        "sha256": {name: sha256_of(folder / name) for name in TABLES},
    }
    write_atomic(folder / "_SUCCESS.json", json.dumps(success, indent=1) + "\n")


def read_success(folder: Path, digest: str) -> ShardCounts | None:
    """Tell what a shard holds; None where it is not done, or was done for another configuration."""
    path = folder / "_SUCCESS.json"
    try:
        success = json.loads(path.read_text(encoding="utf-8"))
        fields = ("references", "abstained", "excluded", "failed", "rows")
        counts = ShardCounts(*(int(success[field]) for field in fields))
        whole = success["config_sha256"] == digest and all((folder / name).is_file() for name in TABLES)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return counts if whole else None
