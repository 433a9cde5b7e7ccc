"""Which rows of a build are meant: filters that every command shares."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Selection:
    """Which rows to take; an empty filter lets everything through.

    Attributes:
        distortions: Names.
        levels: 1..5.
        splits: train, val.
        references: As in the manifest.
        min_mos: Lowest label, on the source's scale.
        max_mos: Highest label.
    """

    distortions: Collection[str] = ()
    levels: Collection[int] = ()
    splits: Collection[str] = ()
    references: Collection[str] = ()
    min_mos: float | None = None
    max_mos: float | None = None

    def apply(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Keep the rows that pass every filter."""
        filters = {
            "dist_name": self.distortions,
            "dist_level": self.levels,
            "split": self.splits,
            "reference": self.references,
        }
        for column, allowed in filters.items():
            if allowed:
                rows = rows[rows[column].isin(allowed)]
        if self.min_mos is not None:
            rows = rows[rows["mos"] >= self.min_mos]
        if self.max_mos is not None:
            rows = rows[rows["mos"] <= self.max_mos]
        return rows

    def as_settings(self) -> dict[str, Any]:
        """Name the filters that are set, in an order of their own; ready for JSON."""
        return {
            name: sorted(value) if isinstance(value, Collection) else value
            for name, value in asdict(self).items()
            if value not in ((), [], None)
        }


EVERYTHING = Selection()
