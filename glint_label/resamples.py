"""Correlations and errors of many resamples of contents at once, from how often each content was drawn."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_IMAGES = 3  # that have a correlation

Floats = NDArray[np.float64]


class Contents:
    """Sums over the images of each content, of which those of a resample are made.

    Args:
        x, y: (n,), the images of a content next to each other.
        sizes: (contents,) how many images each has.
    """

    def __init__(self, x: Floats, y: Floats, sizes: NDArray[np.int64]) -> None:
        starts = np.cumsum(sizes) - sizes
        self._sizes = sizes[:, None].astype(np.float64)
        self._lows = [np.minimum.reduceat(values, starts)[:, None] for values in (x, y)]
        self._highs = [np.maximum.reduceat(values, starts)[:, None] for values in (x, y)]
        with np.errstate(over="ignore"):  # the root of such a sum is not wanted, or infinity
            self._squares = np.add.reduceat((x - y) ** 2, starts)
        # Each by its own largest: squares of very large or small numbers leave the range of a double.
        x, y = (values / max(np.abs(values).max(), np.finfo(np.float64).tiny) for values in (x, y))
        self._means = [np.add.reduceat(values, starts) / sizes for values in (x, y)]
        a, b = (values - np.repeat(means, sizes) for values, means in zip((x, y), self._means, strict=True))
        self._inside = [np.add.reduceat(product, starts) for product in (a * b, a * a, b * b)]

    def varied(self, counts: Floats) -> NDArray[np.bool_]:
        """Tell of which resamples (contents, resamples) there is a correlation."""
        drawn = counts > 0
        varied: NDArray[np.bool_] = (counts * self._sizes).sum(axis=0) >= LEAST_IMAGES
        for lows, highs in zip(self._lows, self._highs, strict=True):
            low, high = np.where(drawn, lows, np.inf).min(axis=0), np.where(drawn, highs, -np.inf).max(axis=0)
            varied &= ~same(low, high)
        return varied

    def rmse(self, counts: Floats) -> Floats:
        """Root mean squared difference of each resample."""
        rmse: Floats = np.sqrt(self._squares @ counts / (self._sizes * counts).sum(axis=0))
        return rmse

    def plcc(self, counts: Floats) -> Floats:
        """Pearson's correlation of each resample: products within contents, and between their means."""
        weights = counts * self._sizes
        a, b = (means[:, None] - means @ weights / weights.sum(axis=0) for means in self._means)
        between = [(weights * product).sum(axis=0) for product in (a * b, a * a, b * b)]
        return _correlation(*(inside @ counts + other for inside, other in zip(self._inside, between, strict=True)))


class Ranks:
    """Ranks within resamples: a value's mean rank follows from how often the values below it occur.

    Args:
        x, y: (n,), the images of a content next to each other.
        sizes: (contents,) how many images each has.
    """

    def __init__(self, x: Floats, y: Floats, sizes: NDArray[np.int64]) -> None:
        self._content = np.repeat(np.arange(len(sizes)), sizes)
        self._orders = []
        for values in (x, y):
            order = np.argsort(values, kind="stable")
            first = np.concatenate([[True], np.diff(values[order]) != 0])
            place = np.empty(len(values), dtype=np.intp)
            place[order] = np.cumsum(first) - 1
            self._orders.append((order, np.flatnonzero(first), place))

    def srocc(self, counts: Floats) -> Floats:
        """Spearman's rank correlation of each resample (contents, resamples); equal values share their mean rank."""
        ranks, squares = [], []
        weights = counts[self._content]
        for order, starts, place in self._orders:
            occurring = np.add.reduceat(weights[order], starts, axis=0)
            upto = np.cumsum(occurring, axis=0)
            rank = upto - (occurring + upto[-1]) / 2  # less the mean of all
            squares.append(np.einsum("nr,nr,nr->r", occurring, rank, rank))
            ranks.append(rank[place])
        return _correlation(np.einsum("nr,nr,nr->r", weights, *ranks), *squares)


def _correlation(xy: Floats, xx: Floats, yy: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):  # of constants, which have none
        correlation: Floats = np.clip(xy / np.sqrt(xx * yy), -1, 1)
    return correlation


def same(low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Tell where the lowest and the highest of some values differ by no more than the rounding of a double."""
    same: NDArray[np.bool_] = np.subtract(high, low) <= 1e-13 * np.maximum(np.abs(low), np.abs(high))
    return same
