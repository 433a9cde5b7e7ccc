"""The rows that are exported, read one shard at a time and cut into parts."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glint_label.errors import InputError, StateError
from glint_label.export.format import Part
from glint_label.images import SEEN
from glint_label.manifest import Selection, count_shards, read_shard
from glint_label.progress import MakeProgress, no_progress

# Images of the size that the raters saw; larger ones make smaller parts. As PNG, 250 of them are about 90 MB. Large
# builds have larger parts, so that there are 10,000 files at most, as dataset hubs allow in a folder.
IMAGES_A_PART = (250, 1_000)
ROWS_FOR_LARGEST = 4_000_000
ROWS_A_PART = 100_000  # where there are no pixels


@dataclass
class _Open:
    """The part of a split that is being filled."""

    split: str
    number: int = 0
    first: int = 0
    weight: int = 0
    tables: list[pd.DataFrame] = field(default_factory=list)
    references: list[Mapping[str, str]] = field(default_factory=list)

    def close(self) -> Part:
        """Give what was gathered, and begin the next part."""
        part = Part(self.split, self.number, self.first, pd.concat(self.tables, ignore_index=True), self.references)
        self.number, self.first, self.weight = self.number + 1, self.first + len(self.references), 0
        self.tables, self.references = [], []
        return part


@dataclass(frozen=True)
class Rows:
    """The rows of a build that pass a filter.

    Attributes:
        build: The build, which is complete.
        run: Its run.json.
        selection: The filter.
        separate: Whether a part holds one split only.
        images: Whether pixels are written, so that parts are smaller.
    """

    build: Path
    run: Mapping[str, Any]
    selection: Selection
    separate: bool
    images: bool

    def parts(self, progress: MakeProgress = no_progress, sha256: list[str] | None = None) -> Iterator[Part]:
        """Cut the rows into parts; memory holds one part of each split at a time.

        Args:
            progress: Makes the progress bar, which counts shards.
            sha256: Takes the hash of each shard's tables.

        Raises:
            StateError: A shard is missing or damaged.
        """
        filling: dict[str, _Open] = {}
        limit = self._limit()
        shards = count_shards(int(self.run["config"]["references"]["count"]))
        with closing(progress("shards", shards, 0)) as bar:
            for number in range(shards):
                shard = read_shard(self.build, number)
                if shard.config_sha256 != self.run["config_sha256"]:
                    raise StateError(
                        f"{shard.folder}: was made with another configuration; build again with --overwrite"
                    )
                if sha256 is not None:
                    sha256.append(shard.sha256)
                facts = {row["reference"]: row for row in shard.references}
                rows = self.selection.apply(shard.metadata).assign(shard=number)
                for table in self._by_reference(rows):
                    reference = str(table["reference"].iat[0])
                    split = str(table["split"].iat[0]) if self.separate else ""
                    if reference not in facts:
                        raise StateError(f"{shard.folder / 'references.csv'}: lacks {reference!r}")
                    row = facts[reference]
                    weight = len(table) * (int(row["width"]) * int(row["height"]) if self.images else 1)
                    part = filling.setdefault(split, _Open(split))
                    if part.tables and part.weight + weight > limit:
                        yield part.close()
                    part.tables.append(table)
                    part.references.append(row)
                    part.weight += weight
                bar.update(1)
        for _, part in sorted(filling.items()):
            if part.tables:
                yield part.close()

    def _by_reference(self, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Cut a shard's rows where the reference changes: a reference's rows are consecutive."""
        splits = sorted(set(rows["split"].tolist())) if self.separate else []
        # A slice keeps all that it was cut from in memory: the rows of each split are copied first.
        for table in [rows[rows["split"] == split] for split in splits] or [rows]:
            names = table["reference"].to_numpy()
            ends = [*(np.flatnonzero(names[1:] != names[:-1]) + 1), len(names)]
            start = 0
            for end in ends if len(names) else []:
                yield table.iloc[start:end]
                start = end

    def _limit(self) -> int:
        """Say how much a part holds: pixels, or rows. It depends on the build alone, so a filter does not move it."""
        if not self.images:
            return ROWS_A_PART
        low, high = IMAGES_A_PART
        images = max(low, min(high, high * int(self.run["counts"]["rows"]) // ROWS_FOR_LARGEST))
        return images * SEEN[0] * SEEN[1]


@dataclass(frozen=True)
class Plan:
    """What an export will hold, known before anything is written.

    Attributes:
        sizes: Name of each part -> its rows.
        rows: Split -> rows.
        references: How many.
        parts: Split, as in parts -> how many parts.
        most: References of the part that has most of them.
        sha256: Hash of all tables of the build.
    """

    sizes: Mapping[str, int]
    rows: Mapping[str, int]
    references: int
    parts: Mapping[str, int]
    most: int
    sha256: str


def plan_rows(rows: Rows, progress: MakeProgress = no_progress) -> Plan:
    """Read all rows once and count them.

    Raises:
        InputError: No row passes the filter.
        StateError: A shard is missing or damaged.
    """
    sizes: dict[str, int] = {}
    counts: dict[str, int] = {}
    parts: dict[str, int] = {}
    references = most = 0
    hashes: list[str] = []
    for part in rows.parts(progress, hashes):
        sizes[part.name] = len(part.rows)
        parts[part.split] = part.number + 1
        references += len(part.references)
        most = max(most, len(part.references))
        for split, number in part.rows["split"].value_counts().items():
            counts[str(split)] = counts.get(str(split), 0) + int(number)
    if not sizes:
        raise InputError(f"{rows.build}: no row passes the filter")
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Plan(sizes, dict(sorted(counts.items())), references, parts, most, digest)
