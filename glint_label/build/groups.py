"""Content groups: which references are the same picture, as each other, as an anchor, as one that must stay out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glint_label.build.photos import read_measured
from glint_label.build.plan import Plan
from glint_label.duplicates.index import DuplicateKeys, find_near_duplicates, recognise
from glint_label.embed import EmbeddedPhotos
from glint_label.errors import InputError
from glint_label.files import spooled_rows
from glint_label.manifest import Shard, shard_folder, split_of
from glint_label.manifest.shards import SHARD_SIZE

_TOGETHER = 4096  # photos that are looked for among the known pictures in one go


@dataclass(frozen=True)
class GroupedShard:
    """What the whole set of references says of one shard's.

    Attributes:
        number: The shard's.
        photos: The shard's.
        failed: How many of its photos could not be used.
        vectors: (n, d) float32, unit length.
        features: (n, conditions, features) float16, empty where the transfer wants none.
        splits: One a reference.
        near_duplicates: Value of the column near_duplicate_of, one a reference.
        excluded: References that get no labels because they are pictures of `--exclude-near`.
    """

    number: int
    photos: EmbeddedPhotos
    failed: int
    vectors: NDArray[np.float32]
    features: NDArray[np.float16]
    splits: tuple[str, ...]
    near_duplicates: tuple[str, ...]
    excluded: tuple[bool, ...]


def group_contents(
    plan: Plan, anchors: EmbeddedPhotos, watched: Sequence[EmbeddedPhotos], numbers: Sequence[int]
) -> Iterator[GroupedShard]:
    """Look at all references together, and tell each shard what that says of its own.

    Vectors wait in a temporary file while near-duplicates are searched; of a reference little else is kept.

    Args:
        plan: The build, whose photos have been measured.
        anchors: The source's.
        watched: Pictures that references are compared with, besides the anchors.
        numbers: Which shards to tell.

    Raises:
        InputError: None of the photos could be used.
        OutputError: The disk of the temporary file is full.
    """
    out = plan.config.out
    known = _Known(plan, anchors, watched)
    places, hashes = [], []  # places in plan.names
    bounds = [0]
    with spooled_rows() as spool:
        for shard in plan.shards:
            photos, _, _ = read_measured(shard_folder(out, shard.number), with_features=False)
            keys = DuplicateKeys(plan.embedder.normalise(photos.vectors, anchors.vectors), photos.hashes)
            spool.append(keys.vectors)
            known.look_for(keys)
            hashes.append(keys.hashes)
            places.append(_places(shard, photos.names))
            bounds.append(bounds[-1] + len(photos.names))
        if not bounds[-1]:
            raise InputError(
                f"{plan.refs}: none of the {len(plan.names)} photos could be used; see {out / 'shards'}/*/failed.csv"
            )
        everything = DuplicateKeys(spool.rows(), np.concatenate(hashes))
        leaders = find_near_duplicates(everything, plan.embedder.near_duplicate, max(1, plan.config.workers))
        del everything, hashes
    place = np.concatenate(places)
    del places
    anchor, excluded = known.names()
    of_group: dict[int, str] = {}  # a group with a photo that must stay out goes as a whole: it is all that picture
    for row, value in excluded.items():
        of_group.setdefault(int(leaders[row]), value)
    for number in numbers:
        photos, features, failures = read_measured(shard_folder(out, number), plan.uses_features)
        span = range(bounds[number], bounds[number + 1])
        led_by = leaders[span.start : span.stop].tolist()
        first = [plan.names[place[leader]] for leader in led_by]
        out_of = [excluded.get(row) or of_group.get(leader, "") for row, leader in zip(span, led_by, strict=True)]
        yield GroupedShard(
            number=number,
            photos=photos,
            failed=len(failures),
            vectors=plan.embedder.normalise(photos.vectors, anchors.vectors),
            features=features,
            splits=tuple(split_of(name) for name in first),
            near_duplicates=tuple(
                stays_out or anchor.get(row) or (name if leader != row else "")
                for row, leader, name, stays_out in zip(span, led_by, first, out_of, strict=True)
            ),
            excluded=tuple(bool(stays_out) for stays_out in out_of),
        )


def _places(shard: Shard, names: Sequence[str]) -> NDArray[np.int32]:
    """Find a shard's photos among the names of all."""
    start = shard.number * SHARD_SIZE
    if len(names) == len(shard.names):
        return np.arange(start, start + len(names), dtype=np.int32)
    order = {name: start + place for place, name in enumerate(shard.names)}
    return np.array([order[name] for name in names], dtype=np.int32)


class _Known:
    """The pictures that references are compared with, and which references they were found to be."""

    def __init__(self, plan: Plan, anchors: EmbeddedPhotos, watched: Sequence[EmbeddedPhotos]) -> None:
        parts = [anchors, *watched]
        keys = DuplicateKeys(
            np.concatenate([plan.embedder.normalise(part.vectors, anchors.vectors) for part in parts]),
            np.concatenate([part.hashes for part in parts]),
        )
        values = [*(f"anchor:{name}" for name in anchors.names), *(one.value for one in plan.watched)]
        drop = np.array([*(False for _ in anchors.names), *(one.drop for one in plan.watched)])
        self._threshold = plan.embedder.near_duplicate
        self._kinds = [
            (keys.take(rows), [values[row] for row in rows.tolist()])
            for rows in (np.flatnonzero(~drop), np.flatnonzero(drop))
        ]
        self._names: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self._waiting: list[DuplicateKeys] = []
        self._looked = 0

    def look_for(self, photos: DuplicateKeys) -> None:
        """Compare more photos; they are numbered as they come."""
        self._waiting.append(photos)
        if sum(len(keys.hashes) for keys in self._waiting) >= _TOGETHER:
            self._look()

    def names(self) -> tuple[dict[int, str], dict[int, str]]:
        """Say which anchor a photo is, and which picture that must stay out; photos that are none are left out."""
        self._look()
        return self._names

    def _look(self) -> None:
        if not self._waiting:
            return
        photos = DuplicateKeys(
            np.concatenate([keys.vectors for keys in self._waiting]),
            np.concatenate([keys.hashes for keys in self._waiting]),
        )
        for (known, values), named in zip(self._kinds, self._names, strict=True):
            found = recognise(photos, known, self._threshold)
            for row in np.flatnonzero(found >= 0).tolist():
                named[self._looked + row] = values[found[row]]
        self._looked += len(photos.hashes)
        self._waiting = []
