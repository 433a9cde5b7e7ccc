"""What every rated dataset becomes: anchors, and one rating per (anchor, distortion, level)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from glint_label.errors import SourceError

Condition = tuple[str, int]  # (distortion name, level)


@dataclass(frozen=True)
class Source:
    """A rated dataset.

    Attributes:
        name: As given to `--source`.
        root: Folder of the dataset; anchors lie below it.
        anchors: Anchor name -> file, sorted by name.
        ratings: One row per (anchor, distortion, level): `mos` on `mos_range`, higher is better; `std`, deviation
            over raters on the same scale, NaN where unknown; `n`, number of raters, 0 where unknown. Those of
            missing anchors only if asked for.
        mos_range: Lowest and highest possible score.
        distortions: Names, in the dataset's own order.
        label_file: The file that the ratings came from.
        missing_anchors: Anchors of the complete dataset that are not here.
        licence: Terms of the ratings.
        citation: Whom to cite.
        note: What a reader of the labels must know of the ratings; empty when they are plain human scores.
        image_name: Where a rated image lies below `root`, with {anchor}, {number} (of the distortion in
            `distortions`, from 1) and {level} to be filled in; empty where the images are not at hand.
    """

    name: str
    root: Path
    anchors: dict[str, Path]
    ratings: pd.DataFrame
    mos_range: tuple[float, float]
    distortions: tuple[str, ...]
    label_file: Path
    missing_anchors: tuple[str, ...] = ()
    licence: str = "unknown"
    citation: str = ""
    note: str = ""
    image_name: str = ""

    def reference(self, anchor: str) -> str:
        """Name an anchor as a reference: its recipes are those of a build whose --refs is the anchors' folder."""
        return self.anchors[anchor].name

    def image_path(self, anchor: str, distortion: str, level: int) -> Path:
        """Find the file of a rated image; it need not be there."""
        number = self.distortions.index(distortion) + 1
        return self.root / self.image_name.format(anchor=anchor, number=number, level=level)

    @property
    def conditions(self) -> list[Condition]:
        """Every rated (distortion, level), in the dataset's order."""
        rated = set(zip(self.ratings["distortion"], self.ratings["level"], strict=True))
        order = {name: index for index, name in enumerate(self.distortions)}
        return sorted(rated, key=lambda condition: (order[condition[0]], condition[1]))

    def without_anchors(self, names: Iterable[str]) -> "Source":
        """Leave anchors and their ratings out.

        Raises:
            SourceError: A name is not an anchor of this source, or none would be left.
        """
        left_out = set(names)
        unknown = sorted(left_out - set(self.anchors) - set(self.missing_anchors))
        if unknown:
            allowed = f"{min(self.anchors)} .. {max(self.anchors)}"
            raise SourceError(f"{self.name} has no anchor {unknown[0]!r}; its anchors are {allowed}")
        kept = {name: path for name, path in self.anchors.items() if name not in left_out}
        if not kept:
            raise SourceError(f"{self.name}: no anchor is left")
        return replace(self, anchors=kept, ratings=self.ratings[self.ratings["anchor"].isin(kept)])

    def scores(self, conditions: Sequence[Condition]) -> NDArray[np.float64]:
        """Tabulate the ratings: (anchors, conditions) MOS, NaN where an anchor has no rating."""
        return self._table(self.ratings["mos"], conditions)

    def variances(self, conditions: Sequence[Condition]) -> NDArray[np.float64]:
        """Tabulate how much each MOS would vary between panels of raters: (anchors, conditions), NaN where unknown."""
        panel = self.ratings["n"].where(self.ratings["n"] > 0)
        return self._table(self.ratings["std"] ** 2 / panel, conditions)

    def _table(self, values: pd.Series, conditions: Sequence[Condition]) -> NDArray[np.float64]:
        rows = self.ratings[["anchor", "distortion", "level"]].assign(value=values)
        table = rows.pivot(index="anchor", columns=["distortion", "level"], values="value")
        wanted = pd.MultiIndex.from_tuples(conditions, names=["distortion", "level"])
        return table.reindex(index=list(self.anchors), columns=wanted).to_numpy(dtype=np.float64)


def check_ratings(ratings: pd.DataFrame, label_file: Path, mos_range: tuple[float, float]) -> None:
    """Refuse ratings with gaps, doubles or scores outside the range.

    Args:
        ratings: Columns anchor, distortion, level, mos, std, n; the index holds the row's line number in `label_file`.
        label_file: Named in the error.
        mos_range: Lowest and highest possible score.

    Raises:
        SourceError: Names the first offending row.
    """
    if ratings.empty:
        raise SourceError(f"{label_file}: holds no ratings")
    low, high = mos_range
    scores = ratings["mos"]
    checks = (
        (scores.isna(), "has no score"),
        ((scores < low) | (scores > high), f"has a score outside {low:g} .. {high:g}"),
        (ratings["std"] < 0, "has a negative deviation"),
        (ratings.duplicated(["anchor", "distortion", "level"]), "rates the same image a second time"),
    )
    for wrong, what in checks:
        if wrong.any():
            line = ratings.index[wrong][0]
            row = ratings.loc[line]
            image = f"{row['anchor']}, {row['distortion']}, level {row['level']}"
            raise SourceError(
                f"{label_file}, line {line}: {what} ({image}; {int(wrong.sum())} such rows); repair the file"
            )


def check_complete(ratings: pd.DataFrame, label_file: Path, expected: pd.MultiIndex) -> None:
    """Refuse ratings that lack rows of the complete dataset, or have others.

    Raises:
        SourceError: Gives the count and names the first one.
    """
    present = pd.MultiIndex.from_frame(ratings[["anchor", "distortion", "level"]])
    for rows, what in (
        (expected.difference(present), "misses"),
        (present.difference(expected), "has unknown"),
    ):
        if len(rows):
            anchor, distortion, level = rows[0]
            raise SourceError(
                f"{label_file}: {what} {len(rows)} of {len(expected)} rows, first {anchor}, {distortion}, "
                f"level {level}; download the file again"
            )


def find_anchors(
    name: str, files: dict[str, Path], allow_missing: bool, allow_none: bool = False
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Split the anchors into those on disk and the names of the others.

    Raises:
        SourceError: Some are missing and `allow_missing` is false, or all are and `allow_none` is false.
    """
    present = {anchor: path for anchor, path in sorted(files.items()) if path.is_file()}
    missing = tuple(sorted(set(files) - set(present)))
    if not present and not allow_none:
        first = next(iter(files.values()))
        raise SourceError(f"{name}: none of its {len(files)} anchors is there, first {first}; check --source-dir")
    if missing and not allow_missing:
        shown = ", ".join(files[anchor].name for anchor in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise SourceError(
            f"{name}: {len(missing)} of {len(files)} anchors are missing from "
            f"{files[missing[0]].parent}: {shown}; "
            "restore them or go on without them with --allow-missing-anchors"
        )
    return present, missing
