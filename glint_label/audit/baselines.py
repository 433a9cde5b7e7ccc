"""What labels are held against: other anchors' ratings, full-reference measures, the noise of the ratings."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from glint_label.audit.report import Predictions
from glint_label.metrics import spearman

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


# Measure -> the features that it is the mean of: logarithms, unless the measure is in _PLAIN. All are taken at
# half size, of MS-SSIM the part at half and at quarter size: where both are near 1, their product falls as their sum.
# The last two are on the packaged network, with all its stages alike.
_STAGES = range(5)
MEASURES = {
    "psnr": ("error_2",),
    "ssim": ("ssim_2",),
    "ms-ssim": ("structure_2", "ssim_4"),
    "gmsd": ("gradient_deviation_2",),
    "vif": ("vif_2",),
    "lpips-like": tuple(f"deep_direction_{stage}" for stage in _STAGES),
    "dists-like": tuple(f"deep_{part}_{stage}" for part in ("means", "structure") for stage in _STAGES),
}
_PLAIN = ("gmsd", "vif")


def measures_as_labels(scores: Floats, features: NDArray[np.float16]) -> list[Predictions]:
    """Label each anchor's images by a full-reference measure, mapped monotonically to the other anchors' ratings.

    Args:
        scores: (anchors, conditions).
        features: (anchors, conditions, features), NaN where not measured: no prediction there.
    """
    nothing, unlike = np.full(scores.shape, np.nan), np.full(len(scores), np.nan)
    return [
        Predictions("none", name, _map_monotonically(value_of(name, features), scores), nothing, unlike)
        for name in MEASURES
    ]


def value_of(measure: str, features: NDArray[np.float16]) -> Floats:
    """Take a full-reference measure out of the features: (..., features) -> (...)."""
    from glint_label.visibility.features import FEATURES

    values = features[..., [FEATURES.index(part) for part in MEASURES[measure]]].astype(np.float64)
    found: Floats = (values if measure in _PLAIN else np.exp(values)).mean(axis=-1)
    return found


def _map_monotonically(values: Floats, scores: Floats) -> Floats:
    """Turn a measure into scores by isotonic regression on all anchors but one, for each."""
    mapped = np.full(scores.shape, np.nan)
    usable = np.isfinite(values) & np.isfinite(scores)
    for anchor in range(len(scores)):
        others = usable.copy()
        others[anchor] = False
        here = np.isfinite(values[anchor])
        if others.sum() > 1:
            mapped[anchor, here] = np.interp(values[anchor, here], *fit_monotonic(values[others], scores[others]))
    return mapped


def fit_monotonic(values: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Fit scores that only rise or only fall with a measure, for np.interp: sorted values, and the score at each.

    Args:
        values: (n,) of the measure, at least two.
        scores: (n,) ratings.
    """
    order = np.argsort(values, kind="stable")
    measured, wanted = values[order], scores[order]
    return measured, isotonic_regression(wanted, increasing=bool(spearman(measured, wanted) > 0)).x


def _distance(first: Floats, second: Floats) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return float(np.sqrt(((first - second)[both] ** 2).mean())) if both.any() else np.inf
