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
from glint_label.manifest import shard_folder, split_of


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

    Args:
        plan: The build, whose photos have been measured.
        anchors: The source's.
        watched: Pictures that references are compared with, besides the anchors.
        numbers: Which shards to tell.

    Raises:
        InputError: None of the photos could be used.
    """
    out = plan.config.out
    names: list[str] = []
    bounds, vectors, hashes = [0], [], []
    for shard in plan.shards:
        photos, _, _ = read_measured(shard_folder(out, shard.number), with_features=False)
        names += photos.names
        vectors.append(plan.embedder.normalise(photos.vectors, anchors.vectors))
        hashes.append(photos.hashes)
        bounds.append(len(names))
    if not names:
        raise InputError(
            f"{plan.refs}: none of the {len(plan.names)} photos could be used; see {out / 'shards'}/*/failed.csv"
        )
    keys = DuplicateKeys(np.concatenate(vectors), np.concatenate(hashes))
    del vectors, hashes
    leaders = find_near_duplicates(keys, plan.embedder.near_duplicate)
    anchor, excluded = _name_known(plan, keys, anchors, watched)
    _spread(excluded, leaders)
    for number in numbers:
        span = range(bounds[number], bounds[number + 1])
        photos, features, failures = read_measured(shard_folder(out, number), plan.uses_features)
        yield GroupedShard(
            number=number,
            photos=photos,
            failed=len(failures),
            vectors=keys.vectors[span.start : span.stop],
            features=features,
            splits=tuple(split_of(names[leaders[row]]) for row in span),
            near_duplicates=tuple(
                excluded[row] or anchor[row] or (names[leaders[row]] if leaders[row] != row else "") for row in span
            ),
            excluded=tuple(bool(excluded[row]) for row in span),
        )


def _name_known(
    plan: Plan, photos: DuplicateKeys, anchors: EmbeddedPhotos, watched: Sequence[EmbeddedPhotos]
) -> tuple[list[str], list[str]]:
    """Say which anchor each photo is, and which picture that must stay out; empty where it is none."""
    parts = [anchors, *watched]
    known = DuplicateKeys(
        np.concatenate([plan.embedder.normalise(part.vectors, anchors.vectors) for part in parts]),
        np.concatenate([part.hashes for part in parts]),
    )
    values = [*(f"anchor:{name}" for name in anchors.names), *(one.value for one in plan.watched)]
    drop = np.array([*(False for _ in anchors.names), *(one.drop for one in plan.watched)])
    named = []
    for rows in (np.flatnonzero(~drop), np.flatnonzero(drop)):
        found = recognise(photos, known.take(rows), plan.embedder.near_duplicate)
        named.append([values[rows[row]] if row >= 0 else "" for row in found.tolist()])
    return named[0], named[1]


def _spread(excluded: list[str], leaders: NDArray[np.int64]) -> None:
    """Let a group with a photo that must stay out go as a whole: its others are that picture too."""
    of_group: dict[int, str] = {}
    for value, leader in zip(excluded, leaders.tolist(), strict=True):
        if value:
            of_group.setdefault(leader, value)
    for row, leader in enumerate(leaders.tolist()):
        excluded[row] = excluded[row] or of_group.get(leader, "")
