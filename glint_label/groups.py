"""Content groups: which references are the same picture, as each other, as an anchor, as one that must stay out."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import InputError
from glint_label.labels import Group
from glint_label.manifest import shard_folder, split_of
from glint_label.neighbours import DuplicateKeys, find_near_duplicates, recognise
from glint_label.plan import Plan
from glint_label.shards import Measured, read_measured


def content_groups(plan: Plan, anchors: Measured) -> Iterator[Group]:
    """Look at all references together, and tell each shard what that says of its own.

    Args:
        plan: The build, whose photos have been opened and embedded.
        anchors: The source's.

    Raises:
        InputError: None of the photos could be used.
    """
    out = plan.config.out
    names: list[str] = []
    measured, bounds = [], [0]
    for shard in plan.shards:
        part = read_measured(shard_folder(out, shard.number))
        names += part.names
        measured.append(part)
        bounds.append(len(names))
    if not names:
        raise InputError(
            f"{plan.config.refs}: none of the {len(plan.names)} photos could be used; "
            f"see {out / 'shards'}/*/failed.csv"
        )
    photos = _pictures(plan, measured, anchors)
    del measured
    leaders = find_near_duplicates(photos, plan.embedder.near_duplicate)
    anchor, excluded = _name_known(plan, photos, anchors)
    _spread(excluded, leaders)
    for shard, start, end in zip(plan.shards, bounds[:-1], bounds[1:], strict=True):
        span = range(start, end)
        yield Group(
            number=shard.number,
            vectors=photos.vectors[start:end],
            splits=tuple(split_of(names[leaders[row]]) for row in span),
            near_duplicates=tuple(
                excluded[row] or anchor[row] or (names[leaders[row]] if leaders[row] != row else "") for row in span
            ),
            excluded=tuple(bool(excluded[row]) for row in span),
        )


def _pictures(plan: Plan, measured: Sequence[Measured], anchors: Measured) -> DuplicateKeys:
    vectors = [plan.embedder.normalise(part.vectors, anchors.vectors) for part in measured]
    return DuplicateKeys(np.concatenate(vectors), np.concatenate([part.fingerprints for part in measured]))


def _name_known(plan: Plan, photos: DuplicateKeys, anchors: Measured) -> tuple[list[str], list[str]]:
    """Say which anchor each photo is, and which picture that must stay out; empty where it is none."""
    watched = [read_measured(shard_folder(plan.watched_folder, shard.number)) for shard in plan.watched_shards]
    known = _pictures(plan, [anchors, *watched], anchors)
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
