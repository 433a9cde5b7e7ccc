"""What labels are held against: any anchor's ratings, the best single anchor, and the noise of the ratings."""

import numpy as np
from numpy.typing import NDArray

from glint_label.audit.report import Predictions

Floats = NDArray[np.float64]

DRAWS = 20  # of random anchors, and of the raters' noise


def baselines(scores: Floats, variances: Floats) -> list[Predictions]:
    """Random anchor, best single anchor by looking, and a perfect label under the raters' noise."""
    random = np.random.default_rng(0)
    count = len(scores)
    nothing = np.full(scores.shape, np.nan)
    unlike = np.full(count, np.nan)
    others = (np.arange(count) + random.integers(1, count, (DRAWS, count))) % count
    distances = np.array(
        [[_distance(scores[a], scores[b]) if a != b else np.inf for b in range(count)] for a in range(count)]
    )
    oracle = scores[distances.argmin(axis=1)]
    panels = scores + random.standard_normal((DRAWS, *scores.shape)) * np.sqrt(variances)
    return [
        Predictions("none", "random-anchor", scores[others], nothing, unlike),
        Predictions("none", "oracle", oracle, nothing, unlike),
        Predictions("none", "noise-ceiling", panels, nothing, unlike),
    ]


def _distance(first: Floats, second: Floats) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return float(np.sqrt(((first - second)[both] ** 2).mean())) if both.any() else np.inf
