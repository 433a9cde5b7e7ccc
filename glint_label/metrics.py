"""How well scores agree with human opinion: SROCC, PLCC, KROCC, RMSE, and their intervals over contents.

The mapping from scores to opinions is the four-parameter logistic of VQEG's full-reference reports, which is customary
before PLCC and RMSE. What cannot be computed is NaN and has a reason; nothing is put in its place.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import expit
from scipy.stats import kendalltau, rankdata

from glint_label.errors import InputError
from glint_label.resamples import LEAST_IMAGES, Contents, Ranks, same

MEASURES = ("srocc", "plcc", "plcc_fitted", "krocc", "rmse", "rmse_fitted")
RESAMPLES = 1000
LEAST_IMAGES_FITTED = 6  # four parameters run through four points and say nothing of five
_LARGEST_NAN_SHARE = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """VQEG's mapping of scores to opinions: low + (high - low) / (1 + exp(-(score - middle) / width)).

    Attributes:
        high: Opinion that a very large score stands for; below `low` where scores run against opinions.
        low: Opinion that a very small score stands for.
        middle: Score half-way.
        width: How many units of score the transition takes; positive.
    """

    high: float
    low: float
    middle: float
    width: float

    def __call__(self, scores: ArrayLike) -> Floats:
        """Map scores to opinions, same shape."""
        z = (np.asarray(scores, dtype=np.float64) - self.middle) / self.width
        mapped: Floats = self.low + (self.high - self.low) * expit(z)
        return mapped


@dataclass(frozen=True)
class Metrics:
    """How well scores agree with opinions; NaN where a figure does not exist, and `warning` says why.

    Attributes:
        images: How many.
        srocc: Spearman's rank correlation.
        plcc: Pearson's correlation of the scores as they are.
        plcc_fitted: Pearson's correlation after the logistic fit, negative where the fit falls.
        krocc: Kendall's rank correlation, tau-b.
        rmse: Root mean squared difference of the scores as they are; it means something only where scores and opinions
            share a scale.
        rmse_fitted: Root mean squared residual of the logistic fit, on the scale of the opinions.
        fit: The logistic fit.
        warning: Why figures are NaN; empty when all exist.
    """

    images: int
    srocc: float
    plcc: float
    plcc_fitted: float
    krocc: float
    rmse: float
    rmse_fitted: float
    fit: Logistic | None
    warning: str = ""


def measure(scores: ArrayLike, mos: ArrayLike) -> Metrics:
    """Compare scores with opinions.

    Fewer than three images, and scores or opinions that are all the same, have no correlation; fewer than six images
    have no fit.

    Args:
        scores: (n,) of a model, higher is better.
        mos: (n,) opinions, higher is better.

    Raises:
        InputError: The two differ in length, or hold a NaN or an infinity.
    """
    x, y = _check(scores, mos)
    fit, warning = _fit_or_reason(x, y)
    return Metrics(images=len(x), **{name: _figure(name, x, y, fit) for name in MEASURES}, fit=fit, warning=warning)


def intervals(
    scores: ArrayLike,
    mos: ArrayLike,
    groups: ArrayLike,
    measures: Sequence[str] = MEASURES,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Bootstrap percentile intervals over contents: whole groups are drawn with replacement.

    Images of one content share more than their distortion, so an interval over single images would be too narrow. The
    logistic is fitted anew in every resample.

    Args:
        scores: (n,) of a model.
        mos: (n,) opinions.
        groups: (n,) names of contents.
        measures: Fields of Metrics; all measures share the resamples.
        resamples: How many.
        seed: Of the draws.
        level: Share of the resamples inside.

    Returns:
        (low, high) per measure; (NaN, NaN) for fewer than two groups, or where more than one resample in twenty has no
        such figure.

    Raises:
        InputError: As for `measure`.
    """
    x, y = _check(scores, mos)
    members = _members(groups, len(x))
    if len(members) < 2:
        return dict.fromkeys(measures, (np.nan, np.nan))
    refit = any(name.endswith("_fitted") for name in measures)
    draws = np.random.default_rng(seed).integers(0, len(members), (resamples, len(members)))
    quick = [name for name in measures if name in _FROM_COUNTS]
    others = [name for name in measures if name not in _FROM_COUNTS]
    figures = _from_counts(x, y, members, draws, quick)
    slow = np.empty((resamples, len(others)))
    for row, draw in zip(slow, draws, strict=True) if others else ():
        chosen = np.concatenate([members[group] for group in draw])
        fit = _fit_or_reason(x[chosen], y[chosen])[0] if refit else None
        row[:] = [_figure(name, x[chosen], y[chosen], fit) for name in others]
    figures |= dict(zip(others, slow.T, strict=True))
    return {name: _percentiles(figures[name], level) for name in measures}


# Our own bootstrap: scipy.stats.bootstrap draws single values, not whole contents, and would gather and rank the
# images of every resample anew.
_FROM_COUNTS = ("srocc", "plcc", "rmse")
_BLOCK = 1 << 14  # weights that are held at a time, for the cache of a core


def _from_counts(
    x: Floats, y: Floats, members: list[NDArray[np.intp]], draws: NDArray[np.int64], measures: Sequence[str]
) -> dict[str, Floats]:
    """Compute a figure of every resample from how often each group was drawn; the images are never gathered."""
    order = np.concatenate(members)
    sizes = np.array([len(rows) for rows in members])
    contents = Contents(x[order], y[order], sizes)
    ranks = Ranks(x[order], y[order], sizes) if "srocc" in measures else None
    found = {name: np.empty(len(draws)) for name in measures}
    step = max(1, _BLOCK // len(x))
    for start in range(0, len(draws), step):
        block = slice(start, start + step)
        counts = np.stack([np.bincount(draw, minlength=len(sizes)) for draw in draws[block]], axis=1).astype(
            np.float64
        )
        varied = contents.varied(counts)
        if "rmse" in found:
            found["rmse"][block] = contents.rmse(counts)
        if "plcc" in found:
            found["plcc"][block] = np.where(varied, contents.plcc(counts), np.nan)
        if ranks is not None:
            found["srocc"][block] = np.where(varied, ranks.srocc(counts), np.nan)
    return found


def content_splits(groups: ArrayLike, rounds: int, share: float = 0.2) -> Iterator[NDArray[np.bool_]]:
    """Split by content as the paper's protocol does, and yield the mask of each round's test images.

    Round r (from 1) shuffles the sorted contents with Python's `Random(12345 r)`; the first 80 % would train.

    Args:
        groups: (n,) names of contents.
        rounds: How many.
        share: Of the contents that test; at least one does.
    """
    names = np.asarray(groups, dtype=str)
    contents = sorted(set(names.tolist()))
    kept = min(round((1 - share) * len(contents)), len(contents) - 1)
    for number in range(1, rounds + 1):
        order = list(contents)
        Random(12345 * number).shuffle(order)  # noqa: S311 (a published protocol, not a secret)
        yield np.isin(names, order[kept:])


def pearson(x: Floats, y: Floats) -> float:
    """Pearson's correlation; NaN for fewer than three values or a constant."""
    if len(x) < LEAST_IMAGES or _constant(x) or _constant(y):
        return np.nan
    a, b = x - x.mean(), y - y.mean()
    # Each by its own largest first: squares of very large or small numbers leave the range of a double.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN as for `pearson`."""
    if len(x) < LEAST_IMAGES or _constant(x) or _constant(y):
        return np.nan
    return pearson(rankdata(x), rankdata(y))


def kendall(x: Floats, y: Floats) -> float:
    """Kendall's tau-b; NaN as for `pearson`."""
    if len(x) < LEAST_IMAGES or _constant(x) or _constant(y):
        return np.nan
    return float(kendalltau(x, y, method="asymptotic").statistic)


def root_mean_square(x: Floats, y: Floats) -> float:
    """Root mean squared difference; NaN for fewer than three values."""
    return float(np.sqrt(np.mean((x - y) ** 2))) if len(x) >= LEAST_IMAGES else np.nan


# Our own fit: SciPy's curve_fit of all four parameters, from one start, fails to converge on four in ten sets of noisy
# scores that run nearly straight, as the numbers of the best logistic then run off.
def fit_logistic(scores: ArrayLike, mos: ArrayLike) -> Logistic | None:
    """Fit VQEG's four-parameter logistic by least squares.

    For any middle and width the best high and low are a plain regression, so only two numbers are searched, from the
    best of nine starts. The width stays within 0.1 and 50 standard deviations of the scores, the middle within 5 of
    their range: beyond, the curve is a step, a straight line or an exponential, and the numbers run off.

    Args:
        scores: (n,), n >= 6, not constant.
        mos: (n,), not constant.

    Returns:
        The fit, or None when the search does not converge.
    """
    x, y = _check(scores, mos)
    centre, scale = x.mean(), x.std()
    z, target = (x - centre) / scale, (y - y.mean()) / y.std()

    def residuals(point: Floats) -> Floats:
        curve = expit((z - point[0]) * np.exp(-point[1]))
        rise, offset = _regress(curve, target)
        difference: Floats = offset + rise * curve - target
        return difference

    low, high = float(z.min()), float(z.max())
    starts = [np.array((middle, width)) for middle in np.quantile(z, (0.1, 0.5, 0.9)) for width in (-1.2, 0.0, 1.2)]
    best = min(starts, key=lambda point: float(np.sum(residuals(point) ** 2)))
    bounds = ((low - 5, np.log(0.1)), (high + 5, np.log(50.0)))
    # dogbox settles on a bound; the default, trf, creeps towards it for hundreds of steps.
    found: Any = least_squares(residuals, best, bounds=bounds, method="dogbox", x_scale="jac")
    if not found.success or not np.isfinite(found.x).all():
        return None
    middle, width = found.x[0] * scale + centre, float(np.exp(found.x[1])) * scale
    rise, offset = _regress(expit((x - middle) / width), y)
    return Logistic(high=float(offset + rise), low=float(offset), middle=float(middle), width=float(width))


def _regress(curve: Floats, target: Floats) -> tuple[float, float]:
    """Return slope and intercept of the best line through (curve, target)."""
    centred = curve - curve.mean()
    power = float(centred @ centred)
    slope = float(centred @ (target - target.mean())) / power if power > 0 else 0.0
    return slope, float(target.mean() - slope * curve.mean())


def _fit_or_reason(x: Floats, y: Floats) -> tuple[Logistic | None, str]:
    if len(x) < LEAST_IMAGES:
        return None, f"{len(x)} images: no figures from fewer than {LEAST_IMAGES}"
    if _constant(x):
        return None, "all scores are the same: no correlation"
    if _constant(y):
        return None, "all opinions are the same: no correlation"
    if len(x) < LEAST_IMAGES_FITTED:
        return None, f"{len(x)} images: no logistic fit of fewer than {LEAST_IMAGES_FITTED}"
    fit = fit_logistic(x, y)
    return fit, "" if fit else "the logistic fit did not converge"


def _figure(name: str, x: Floats, y: Floats, fit: Logistic | None) -> float:
    if not name.endswith("_fitted"):
        return _RAW[name](x, y)
    if fit is None:
        return np.nan
    if name == "rmse_fitted":
        return root_mean_square(fit(x), y)
    # A mapping that turns scores round must not hide that they were the wrong way round.
    return pearson(fit(x), y) * float(np.sign(fit.high - fit.low))


_RAW: dict[str, Callable[[Floats, Floats], float]] = {
    "srocc": spearman,
    "plcc": pearson,
    "krocc": kendall,
    "rmse": root_mean_square,
}


def _check(scores: ArrayLike, mos: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(mos, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"scores and opinions must be two lists of one length, not {x.shape} and {y.shape}")
    for values, what in ((x, "scores"), (y, "opinions")):
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            raise InputError(f"{wrong} of {len(values)} {what} are not finite numbers")
    return x, y


def _constant(values: Floats) -> bool:
    """Tell whether values differ by no more than the rounding of a double."""
    return bool(same(values.min(), values.max()))


def _members(groups: ArrayLike, count: int) -> list[NDArray[np.intp]]:
    names = np.asarray(groups, dtype=str)
    if names.shape != (count,):
        raise InputError(f"{count} scores need as many groups, not {names.shape}")
    _, numbers = np.unique(names, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if count else []


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) < (1 - _LARGEST_NAN_SHARE) * len(values):
        return np.nan, np.nan
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
