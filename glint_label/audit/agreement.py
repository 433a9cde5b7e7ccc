"""How well predicted scores agree with ratings: correlations, errors, intervals, honesty of the deviations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from glint_label.metrics import RESAMPLES, intervals, pearson, root_mean_square, spearman
from glint_label.sources import Condition

Floats = NDArray[np.float64]

HALF_WIDTH = float(norm.ppf(0.95))  # deviations to each side of a 90 % interval
BINS = 4  # of similarity, with the same number of anchors each


@dataclass(frozen=True)
class Agreement:
    """Agreement of predictions with ratings; NaN where it is not defined.

    Attributes:
        srocc, plcc, rmse: Over all ratings together, with 95 % bootstrap intervals over anchors.
        srocc_within: Over the anchors of one condition, mean over conditions: what a label adds to knowing the
            distortion and its level, which alone give a high `srocc`.
        srocc_per_anchor, plcc_per_anchor, rmse_per_anchor: Means over anchors.
        coverage90: Share of ratings inside the predicted 90 % interval.
        mean_error: Mean predicted standard deviation.
    """

    srocc_within: float
    srocc: float
    srocc_low: float
    srocc_high: float
    plcc: float
    plcc_low: float
    plcc_high: float
    rmse: float
    rmse_low: float
    rmse_high: float
    srocc_per_anchor: float
    plcc_per_anchor: float
    rmse_per_anchor: float
    coverage90: float
    mean_error: float


def measure_agreement(scores: Floats, mos: Floats, mos_error: Floats, resamples: int = RESAMPLES) -> Agreement:
    """Compare predictions with ratings.

    Args:
        scores: (anchors, conditions), NaN where there is no rating.
        mos: The same shape, or (draws, anchors, conditions), whose agreements are averaged.
        mos_error: (anchors, conditions); NaN where none is claimed.
        resamples: Of the bootstrap over anchors; draws share them.
    """
    if mos.ndim == 3:
        each = [vars(measure_agreement(scores, draw, mos_error, resamples // len(mos))) for draw in mos]
        return Agreement(**{name: float(np.mean([one[name] for one in each])) for name in each[0]})
    rated = np.isfinite(scores) & np.isfinite(mos)
    anchors = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)[rated]
    predicted, wanted = mos[rated], scores[rated]
    bounds = intervals(predicted, wanted, anchors, ("srocc", "plcc", "rmse"), resamples=resamples)
    each_anchor = [(mos[row][here], scores[row][here]) for row, here in enumerate(rated)]
    coverage, mean_error = calibration(scores, mos, mos_error)
    return Agreement(
        _mean([spearman(mos[here, column], scores[here, column]) for column, here in enumerate(rated.T)]),
        spearman(predicted, wanted),
        *bounds["srocc"],
        pearson(predicted, wanted),
        *bounds["plcc"],
        root_mean_square(predicted, wanted),
        *bounds["rmse"],
        srocc_per_anchor=_mean([spearman(*one) for one in each_anchor]),
        plcc_per_anchor=_mean([pearson(*one) for one in each_anchor]),
        rmse_per_anchor=_mean([root_mean_square(*one) for one in each_anchor]),
        coverage90=coverage,
        mean_error=mean_error,
    )


def calibration(scores: Floats, mos: Floats, mos_error: Floats) -> tuple[float, float]:
    """Return the share of ratings inside the 90 % interval, and the mean deviation claimed; NaN where none is."""
    claimed = np.isfinite(scores) & np.isfinite(mos_error) & np.isfinite(mos)
    if not claimed.any():
        return float("nan"), float("nan")
    inside = np.abs(mos - scores)[claimed] <= HALF_WIDTH * mos_error[claimed]
    return float(inside.mean()), float(mos_error[claimed].mean())


def _pooled(scores: Floats, mos: Floats, mos_error: Floats) -> dict[str, float | None]:
    """SROCC, RMSE, coverage and mean error without intervals; None where not defined."""
    draws = mos[None] if mos.ndim == 2 else mos
    each = []
    for draw in draws:
        rated = np.isfinite(scores) & np.isfinite(draw)
        each.append((spearman(draw[rated], scores[rated]), root_mean_square(draw[rated], scores[rated])))
    srocc, rmse = np.mean(each, axis=0).tolist()
    coverage, mean_error = calibration(scores, draws[0], mos_error)
    figures = {"srocc": srocc, "rmse": rmse, "coverage90": coverage, "mean_error": mean_error}
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in figures.items()}


def by_distortion(
    scores: Floats, mos: Floats, mos_error: Floats, conditions: Sequence[Condition]
) -> list[dict[str, Any]]:
    """Measure each distortion on its own: SROCC, RMSE, coverage, mean_error."""
    rows = []
    for name in dict.fromkeys(name for name, _ in conditions):
        columns = [column for column, condition in enumerate(conditions) if condition[0] == name]
        rows.append({"distortion": name, **_pooled(scores[:, columns], mos[..., columns], mos_error[:, columns])})
    return rows


def by_similarity(scores: Floats, mos: Floats, mos_error: Floats, similarity: Floats) -> list[dict[str, Any]]:
    """Measure quarters of the anchors, from the least to the most similar to another one."""
    if not np.isfinite(similarity).all() or mos.ndim != 2:
        return []
    rows = []
    for part in np.array_split(np.argsort(similarity, kind="stable"), min(BINS, len(similarity))):
        low, high = (round(float(limit(similarity[part])), 4) for limit in (np.min, np.max))
        figures = _pooled(scores[part], mos[part], mos_error[part])
        rows.append({"from": low, "to": high, "anchors": len(part), **figures})
    return rows


def _mean(values: Any) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
