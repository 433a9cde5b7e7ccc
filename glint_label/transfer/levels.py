"""Order of levels: where a source's means fall (or rise) with the level, every photo's labels do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glint_label.sources import Condition, Source

Floats = NDArray[np.float64]


def keep_order(mos: Floats, means: Floats, conditions: Sequence[Condition]) -> Floats:
    """Replace labels that break the order of levels by the nearest ones that keep it, in least squares.

    Args:
        mos: (n, conditions) labels.
        means: (conditions,), the source's mean scores, which say whether a distortion is ordered, and which way.
        conditions: (distortion, level) of each column.
    """
    ordered = mos.copy()
    for name in dict.fromkeys(name for name, _ in conditions):
        columns = sorted((level, column) for column, (other, level) in enumerate(conditions) if other == name)
        indices = [column for _, column in columns]
        steps = np.diff(means[indices])
        if len(steps) and (steps <= 0).all():
            ordered[:, indices] = -_rising(-mos[:, indices])
        elif len(steps) and (steps >= 0).all():
            ordered[:, indices] = _rising(mos[:, indices])
    return ordered


def rising_distortions(source: Source) -> list[str]:
    """Name the distortions that get worse with the level and whose scores rise with it: is higher better at all?

    A rise counts if it is larger than twice its standard error over the anchors.
    """
    from glint_label.distortions import DISTORTIONS  # torch is 260 MB, which workers that only label do without

    found = []
    for name in source.distortions:
        levels = [level for other, level in source.conditions if other == name]
        if name not in DISTORTIONS or not DISTORTIONS[name].ordered or len(levels) < 2:
            continue
        scores = source.scores([(name, level) for level in levels])
        scores = scores[~np.isnan(scores).any(axis=1)]
        slopes = scores @ (np.array(levels) - np.mean(levels))
        error = slopes.std(ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else 0.0
        if len(slopes) and slopes.mean() > 2 * error:
            found.append(name)
    return found


# Our own: it takes all photos at once, over few levels; SciPy's and scikit-learn's take one sequence at a time, which
# would be 25 calls a photo.
def _rising(values: Floats) -> Floats:
    """Isotonic regression of each row: the largest, over starts, of the smallest, over ends, mean of a run."""
    levels = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    result = np.full_like(values, -np.inf)
    for start in range(levels):
        smallest = np.full(len(values), np.inf)
        for end in reversed(range(start, levels)):
            smallest = np.minimum(smallest, (sums[:, end + 1] - sums[:, start]) / (end + 1 - start))
            result[:, end] = np.maximum(result[:, end], smallest)
    return result
