"""How well predicted scores agree with ratings: correlations, errors, intervals, honesty of the deviations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from glint_label.sources import Cell

Floats = NDArray[np.float64]

RESAMPLES = 1000
HALF_WIDTH = float(norm.ppf(0.95))  # deviations to each side of a 90 % interval
BINS = 4  # of similarity, with the same number of anchors each


@dataclass(frozen=True)
class Agreement:
    """Agreement of predictions with ratings; NaN where it is not defined.

    Attributes:
        srocc, plcc, rmse: Over all ratings together, with 95 % bootstrap intervals over anchors.
        srocc_per_anchor, plcc_per_anchor, rmse_per_anchor: Means over anchors.
        coverage90: Share of ratings inside the predicted 90 % interval.
        sharpness: Mean predicted standard deviation.
    """

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
    sharpness: float


def measure_agreement(scores: Floats, mos: Floats, mos_std: Floats) -> Agreement:
    """Compare predictions with ratings.

    Args:
        scores: (anchors, cells), NaN where there is no rating.
        mos: The same shape, or (draws, anchors, cells), whose agreements are averaged.
        mos_std: (anchors, cells); NaN where none is claimed.
    """
    if mos.ndim == 3:
        each = [vars(measure_agreement(scores, draw, mos_std)) for draw in mos]
        return Agreement(**{name: float(np.mean([one[name] for one in each])) for name in each[0]})
    rated = np.isfinite(scores) & np.isfinite(mos)
    values = np.where(rated, scores, 0), np.where(rated, mos, 0)
    ranks = np.zeros_like(scores), np.zeros_like(scores)
    for rank, value in zip(ranks, values, strict=True):
        rank[rated] = rankdata(value[rated]) if rated.any() else 0
    squares = np.where(rated, (values[0] - values[1]) ** 2, 0).sum(axis=1)
    rank_sums, value_sums = _sums(*ranks, rated), _sums(*values, rated)
    counts = rated.sum(axis=1).astype(float)
    drawn = _resamples(len(scores))
    srocc = _interval(_correlation(rank_sums.sum(axis=0)), _correlation(drawn @ rank_sums))
    plcc = _interval(_correlation(value_sums.sum(axis=0)), _correlation(drawn @ value_sums))
    rmse = _interval(_root(squares.sum(), counts.sum()), _root(drawn @ squares, drawn @ counts))
    per_anchor = [_of_anchor(scores[a][rated[a]], mos[a][rated[a]]) for a in range(len(scores))]
    with_ranks, with_values = zip(*per_anchor, strict=True)
    coverage, sharpness = calibration(scores, mos, mos_std)
    return Agreement(
        *srocc,
        *plcc,
        *rmse,
        srocc_per_anchor=_mean(with_ranks),
        plcc_per_anchor=_mean(with_values),
        rmse_per_anchor=_mean(_root(squares, counts)),
        coverage90=coverage,
        sharpness=sharpness,
    )


def calibration(scores: Floats, mos: Floats, mos_std: Floats) -> tuple[float, float]:
    """Return the share of ratings inside the 90 % interval, and the mean deviation claimed; NaN where none is."""
    claimed = np.isfinite(scores) & np.isfinite(mos_std) & np.isfinite(mos)
    if not claimed.any():
        return float("nan"), float("nan")
    inside = np.abs(mos - scores)[claimed] <= HALF_WIDTH * mos_std[claimed]
    return float(inside.mean()), float(mos_std[claimed].mean())


def _pooled(scores: Floats, mos: Floats, mos_std: Floats) -> dict[str, float | None]:
    """SROCC, RMSE, coverage and sharpness without intervals; None where not defined."""
    draws = mos[None] if mos.ndim == 2 else mos
    each = []
    for draw in draws:
        rated = np.isfinite(scores) & np.isfinite(draw)
        one, two = scores[rated][None], draw[rated][None]
        whole = np.ones(one.shape, dtype=bool)
        ranks = _sums(rankdata(one)[None], rankdata(two)[None], whole) if one.size else np.zeros((1, 6))
        each.append((float(_correlation(ranks)[0]), float(_root(((one - two) ** 2).sum(), one.size))))
    srocc, rmse = np.mean(each, axis=0).tolist()
    coverage, sharpness = calibration(scores, draws[0], mos_std)
    figures = {"srocc": srocc, "rmse": rmse, "coverage90": coverage, "sharpness": sharpness}
    return {name: round(value, 6) if np.isfinite(value) else None for name, value in figures.items()}


def by_distortion(scores: Floats, mos: Floats, mos_std: Floats, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Measure each distortion on its own: SROCC, RMSE, coverage, sharpness."""
    rows = []
    for name in dict.fromkeys(name for name, _ in cells):
        columns = [column for column, cell in enumerate(cells) if cell[0] == name]
        rows.append({"distortion": name, **_pooled(scores[:, columns], mos[..., columns], mos_std[:, columns])})
    return rows


def by_similarity(scores: Floats, mos: Floats, mos_std: Floats, similarity: Floats) -> list[dict[str, Any]]:
    """Measure quarters of the anchors, from the least to the most similar to another one."""
    if not np.isfinite(similarity).all() or mos.ndim != 2:
        return []
    rows = []
    for part in np.array_split(np.argsort(similarity, kind="stable"), min(BINS, len(similarity))):
        low, high = (round(float(limit(similarity[part])), 4) for limit in (np.min, np.max))
        figures = _pooled(scores[part], mos[part], mos_std[part])
        rows.append({"from": low, "to": high, "anchors": len(part), **figures})
    return rows


def _sums(first: Floats, second: Floats, rated: NDArray[np.bool_]) -> Floats:
    """What a correlation needs of each anchor, (anchors, 6): count, sums, squares, products; centred for accuracy."""
    count = max(1, int(rated.sum()))
    one, two = (np.where(rated, values - values[rated].sum() / count, 0) for values in (first, second))
    parts = np.stack([rated, one, two, one * one, two * two, one * two]).astype(np.float64)
    sums: Floats = parts.sum(axis=2).T
    return sums


def _correlation(sums: Floats) -> Floats:
    count, one, two, one_square, two_square, product = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = product - one * two / count
        spread = (one_square - one**2 / count) * (two_square - two**2 / count)
        correlation: Floats = np.where(spread > _SAME, covariance / np.sqrt(spread), np.nan)
    return correlation


_SAME = 1e-18  # product of two sums of squares below which one of them is rounding alone


def _root(squares: Any, counts: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(squares / counts)


@cache
def _resamples(anchors: int) -> Floats:
    """How often each anchor is drawn in each resample, (RESAMPLES, anchors)."""
    draws = np.random.default_rng(0).integers(0, anchors, (RESAMPLES, anchors))
    return np.stack([np.bincount(draw, minlength=anchors) for draw in draws]).astype(np.float64)


def _interval(value: Any, resampled: Floats) -> tuple[float, float, float]:
    finite = resampled[np.isfinite(resampled)]
    low, high = np.percentile(finite, (2.5, 97.5)) if len(finite) else (np.nan, np.nan)
    return float(value), float(low), float(high)


def _of_anchor(scores: Floats, mos: Floats) -> tuple[float, float]:
    """SROCC and PLCC of one anchor; NaN where fewer than three of its ratings, or no two different ones."""
    if len(scores) < 3:
        return float("nan"), float("nan")
    rated = np.ones((1, len(scores)), dtype=bool)
    ranks = _sums(rankdata(scores)[None], rankdata(mos)[None], rated)
    return float(_correlation(ranks)[0]), float(_correlation(_sums(scores[None], mos[None], rated))[0])


def _mean(values: Any) -> float:
    finite = np.asarray(values)[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
