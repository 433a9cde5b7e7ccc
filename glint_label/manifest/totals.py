"""What the rows of a build add up to: counts and sums of labels, which shards make on their own and which add up."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LABEL_BINS = 20  # over the range of labels
BANDS = 10  # of similarity, 0..1; what is below 0 counts to the first
SUMMED = ("mos", "square", "mos_error")


class Cell(NamedTuple):
    """Rows that belong together: one distortion at one level in one split."""

    number: int
    name: str
    level: int
    split: str


@dataclass
class Totals:
    """Counts and sums of labels.

    Attributes:
        counts: Cell -> (BANDS, LABEL_BINS) rows.
        sums: Cell -> (BANDS, 3) sums of the label, its square and its standard error: SUMMED.
    """

    counts: dict[Cell, NDArray[np.int64]] = field(default_factory=dict)
    sums: dict[Cell, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pd.DataFrame, mos_range: tuple[float, float]) -> "Totals":
        """Count the rows of a shard.

        Args:
            rows: Columns dist_type, dist_name, dist_level, split, similarity, mos, mos_error; the texts categorical.
            mos_range: Lowest and highest possible label.
        """
        if rows.empty:
            return cls()
        low, high = mos_range
        mos, level = rows["mos"].to_numpy(), rows["dist_level"].to_numpy()
        names, splits = rows["dist_name"].cat, rows["split"].cat
        marks = np.stack([rows["dist_type"].to_numpy(), names.codes, level, splits.codes], axis=1)
        spread = np.ravel_multi_index(tuple((marks - marks.min(0)).T), tuple(np.ptp(marks, axis=0) + 1))
        _, first, which = np.unique(spread, return_index=True, return_inverse=True)
        band = np.clip(np.floor(rows["similarity"].to_numpy() * BANDS), 0, BANDS - 1).astype(np.int64)
        inner = np.linspace(low, high, LABEL_BINS + 1)[1:-1]
        label = np.searchsorted(inner, mos, side="right")
        place = which * BANDS + band
        counts = np.bincount(place * LABEL_BINS + label, minlength=len(first) * BANDS * LABEL_BINS)
        columns = (mos, mos**2, rows["mos_error"].to_numpy())
        sums = [np.bincount(place, weights=column, minlength=len(first) * BANDS) for column in columns]
        named, parts = names.categories.tolist(), splits.categories.tolist()
        cells = [Cell(number, named[name], at, parts[split]) for number, name, at, split in marks[first].tolist()]
        return cls(
            dict(zip(cells, counts.reshape(-1, BANDS, LABEL_BINS), strict=True)),
            dict(zip(cells, np.stack(sums, axis=-1).reshape(-1, BANDS, len(SUMMED)), strict=True)),
        )

    def add(self, other: "Totals") -> None:
        """Add those of another shard."""
        for cell, counts in other.counts.items():
            if cell in self.counts:
                self.counts[cell] += counts
                self.sums[cell] += other.sums[cell]
            else:
                self.counts[cell], self.sums[cell] = counts.copy(), other.sums[cell].copy()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(int(counts.sum()) for counts in self.counts.values())

    @property
    def splits(self) -> dict[str, int]:
        """Split -> its number of rows."""
        found = dict.fromkeys(sorted({cell.split for cell in self.counts}), 0)
        for cell, counts in self.counts.items():
            found[cell.split] += int(counts.sum())
        return found

    def histogram(self) -> NDArray[np.int64]:
        """Count the rows in each bin of labels: (LABEL_BINS,)."""
        none = np.zeros(LABEL_BINS, dtype=np.int64)
        return sum((counts.sum(0) for counts in self.counts.values()), start=none)

    def labels(self) -> dict[str, float | None]:
        """Mean and deviation of all labels, and their mean expected error."""
        rows = self.rows
        if not rows:
            return {"mean": None, "std": None, "mos_error": None}
        mean, square, error = sum(sums.sum(0) for sums in self.sums.values()) / rows
        std = max(0.0, float(square - mean**2)) ** 0.5
        return {"mean": round(float(mean), 4), "std": round(std, 4), "mos_error": round(float(error), 4)}

    def distortions(self) -> list[dict[str, Any]]:
        """Per distortion and level: mean label, its deviation over photos, mean expected error of a label."""
        found: dict[tuple[int, str], dict[int, NDArray[np.float64]]] = {}
        for cell in sorted(self.counts):
            row = np.append(self.counts[cell].sum(), self.sums[cell].sum(0))
            levels = found.setdefault((cell.number, cell.name), {})
            levels[cell.level] = levels.get(cell.level, np.zeros(1 + len(SUMMED))) + row
        return [_describe(number, name, levels) for (number, name), levels in found.items()]


def _describe(number: int, name: str, levels: dict[int, NDArray[np.float64]]) -> dict[str, Any]:
    at = sorted(levels)
    rows, mos, square, error = np.array([levels[level] for level in at]).T
    means = mos / rows
    variances = np.clip(square / rows - means**2, 0, None)

    def by_level(values: NDArray[np.float64]) -> dict[int, float]:
        return dict(zip(at, values.round(4).tolist(), strict=True))

    return {
        "type": number,
        "name": name,
        "rows": int(rows.sum()),
        "mos_by_level": by_level(means),
        "spread_by_level": by_level(np.sqrt(variances)),
        "mos_error_by_level": by_level(error / rows),
        "spread": round(float(np.sqrt(variances.mean())), 4),
        "mos_error": round(float(error.sum() / rows.sum()), 4),
    }
