"""Which photos a report shows: ordinary ones, the least similar, those of the most used anchors, the abstained."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 4  # photos of a kind
_ANCHORS = 4  # of the most used
_EACH = 3  # photos of each of them
_NEIGHBOURS = 3  # anchors beside a photo
_ORDINARY = (0.35, 0.45, 0.55, 0.65)  # quantiles of similarity
_GRID = (0.5, 0.1, 0.9)  # quantiles of a photo's mean label


@dataclass(frozen=True)
class Reference:
    """A row of references.csv, read.

    Attributes:
        name: Of the photo.
        sha256: Of its file.
        shard: That it lies in.
        split: train or val; empty where it has no labels.
        offset: Its mean label less that of an average photo.
        neighbours: (anchor, similarity, weight) of the nearest; the weight is None where it has no labels.
        of: What it is a near-duplicate of; empty for nothing.
    """

    name: str
    sha256: str
    shard: int
    split: str
    offset: float
    neighbours: tuple[tuple[str, float, float | None], ...]
    of: str

    @property
    def similarity(self) -> float:
        """To the nearest anchor."""
        return self.neighbours[0][1]

    @property
    def against_average(self) -> str:
        """Say how its labels compare with those of an average photo."""
        if abs(self.offset) < 0.005:
            return "labels as of an average photo"
        return f"labels {abs(self.offset):.2f} {'above' if self.offset > 0 else 'below'} an average photo's"

    @classmethod
    def read(cls, row: dict[str, str]) -> "Reference":
        """Read a row."""
        names, alike, weights = (
            json.loads(row[column] or "[]") for column in ("neighbours", "similarities", "weights")
        )
        padded: list[Any] = [*weights, *([None] * (len(names) - len(weights)))]
        offset = float(row["mos_offset"] or "nan")
        neighbours = tuple(zip(names, alike, padded, strict=False))[:_NEIGHBOURS]
        of = row["near_duplicate_of"]
        return cls(row["reference"], row["sha256"], int(row["shard"]), row["split"], offset, neighbours, of)


@dataclass(frozen=True)
class Group:
    """Photos that are shown together.

    Attributes:
        kind: ordinary, least, anchor or abstained.
        anchor: Whose photos they are, where `kind` is anchor.
        references: The photos.
    """

    kind: str
    references: tuple[Reference, ...]
    anchor: str = ""


def choose_groups(rows: Sequence[dict[str, str]], hubs: Sequence[dict[str, Any]], abstained: int) -> list[Group]:
    """Choose the photos that are shown beside their anchors.

    Args:
        rows: Of references.csv, as text.
        hubs: The most used anchors, as `describe_references` gives them.
        abstained: How many photos got no labels as no anchor is similar enough.
    """
    labelled = sorted((_similarity(row), number) for number, row in enumerate(rows) if row["split"])
    groups = []
    if labelled:
        places = dict.fromkeys(round(share * (len(labelled) - 1)) for share in _ORDINARY)
        groups.append(Group("ordinary", _read(rows, [labelled[place][1] for place in places])))
        groups.append(Group("least", _read(rows, [number for _, number in labelled[:_SHOWN]])))
    wanted = {str(hub["anchor"]) for hub in hubs[:_ANCHORS]}
    found: dict[str, list[int]] = {name: [] for name in sorted(wanted)}
    for _, number in reversed(labelled):
        nearest = str(json.loads(rows[number]["neighbours"])[0])
        if nearest in wanted and len(found[nearest]) < _EACH:
            found[nearest].append(number)
    groups += [Group("anchor", _read(rows, found[str(hub["anchor"])]), str(hub["anchor"])) for hub in hubs[:_ANCHORS]]
    if abstained:
        left_out = sorted(
            (_similarity(row), number)
            for number, row in enumerate(rows)
            if not row["split"] and not row["near_duplicate_of"].startswith("excluded:")
        )
        groups.append(Group("abstained", _read(rows, [number for _, number in left_out[:_SHOWN]])))
    return [group for group in groups if group.references]


def choose_for_grid(rows: Sequence[dict[str, str]], is_there: Callable[[str], bool]) -> list[Reference]:
    """Choose photos to distort in every way: one whose labels are ordinary, a low and a high one.

    Args:
        rows: Of references.csv, as text.
        is_there: Tells whether a photo's file can be read.
    """
    ranked = sorted((float(row["mos_offset"]), number) for number, row in enumerate(rows) if row["split"])
    chosen: dict[int, None] = {}
    for share in _GRID:
        start = round(share * (len(ranked) - 1))
        near = sorted(range(len(ranked)), key=lambda place, start=start: abs(place - start))[:50]  # type: ignore[misc]
        for place in near:
            number = ranked[place][1]
            if number not in chosen and is_there(rows[number]["reference"]):
                chosen[number] = None
                break
    return list(_read(rows, list(chosen)))


def _similarity(row: dict[str, str]) -> float:
    """Read the similarity to the nearest anchor alone: a large build has many rows."""
    first = row["similarities"].strip("[]").split(",", 1)[0]
    return float(first) if first else -1.0


def _read(rows: Sequence[dict[str, str]], numbers: Sequence[int]) -> tuple[Reference, ...]:
    return tuple(Reference.read(rows[number]) for number in numbers)
