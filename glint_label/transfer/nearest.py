"""The mean of the nearest anchors' ratings: one neighbour is the paper's rule, all of them ignore content.

SynDR-IQA's rule (NeurIPS 2025) is one of them: up to 5 anchors whose cosine lies within 0.05 of the best, weighted by
the softmax of their cosines, the nearer the more.
"""

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import SourceError
from glint_label.transfer.neighbours import AnchorIndex
from glint_label.transfer.transfer import Labels, RatedAnchors


class NearestMean:
    """Average the ratings of the k nearest anchors, condition by condition.

    An anchor without a rating in a condition does not count there; where none of the k has one, the mean of all
    anchors stands in. `mos_error` is the root mean square error of the same rule when each anchor in turn is left out
    and predicted from the others, per condition: the raters' noise is in it.

    Args:
        k: Number of neighbours; None for all anchors.
        within: How much less similar than the nearest a neighbour may be, with weights by softmax; None: any of the k
            counts, all alike.
    """

    uses_features = False
    slow_to_fit = False

    def __init__(self, k: int | None, within: float | None = None) -> None:
        self._k = k
        self._within = within

    def fit(self, anchors: RatedAnchors) -> None:
        """Index the anchors and measure the error of leaving each one out.

        Raises:
            SourceError: Fewer than two anchors share a rated condition, so that no error can be measured.
        """
        scores = anchors.scores
        self._index = AnchorIndex(anchors.vectors)
        self._rated = (~np.isnan(scores)).astype(np.float64)
        self._filled = np.nan_to_num(scores)
        everyone = np.full((1, len(scores)), 1 / len(scores))
        self._condition_means = self._mean(everyone, np.full(scores.shape[1], np.nan))[0]
        self._std = self._leave_one_out_std(anchors.vectors, scores)

    def label(self, vectors: NDArray[np.float32], features: NDArray[np.float16] | None = None) -> Labels:  # noqa: ARG002 (content alone)
        """Label references; see Transfer.label."""
        nearest, similarities = self._index.nearest(vectors, self._k or self._index.size)
        weights = self._weigh(nearest, similarities)
        mos = self._mean(weights, self._condition_means)
        return Labels(mos, np.broadcast_to(self._std, mos.shape), weights)

    def _mean(self, weights: NDArray[np.float64], default: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average over rated anchors, condition by condition; `default` where no weight falls on a rated one."""
        total = weights @ self._rated
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (weights @ self._filled) / total
        result: NDArray[np.float64] = np.where(total > 0, mean, default)
        return result

    def _weigh(self, neighbours: NDArray[np.int64], similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give each row's neighbours, nearest first, weights that sum to 1: (rows, anchors)."""
        weights = np.zeros((len(neighbours), self._index.size))
        if neighbours.shape[1]:
            shares = np.ones(neighbours.shape)
            if self._within is not None:
                below = similarities[:, :1] - similarities.astype(np.float64)
                shares = np.where(below <= self._within, np.exp(-below), 0)
            np.put_along_axis(weights, neighbours, shares / shares.sum(axis=1, keepdims=True), axis=1)
        return weights

    def _leave_one_out_std(self, vectors: NDArray[np.float32], scores: NDArray[np.float64]) -> NDArray[np.float64]:
        count = len(vectors)
        ranked, similarities = self._index.nearest(vectors, count)
        is_other = ranked != np.arange(count)[:, None]
        others, likeness = (each[is_other].reshape(count, count - 1)[:, : self._k] for each in (ranked, similarities))
        weights = self._weigh(others, likeness)
        with np.errstate(invalid="ignore", divide="ignore"):
            others_sum = self._filled.sum(axis=0) - self._filled
            others_mean = others_sum / (self._rated.sum(axis=0) - self._rated)
        squares = (self._mean(weights, others_mean) - scores) ** 2
        measured = np.isfinite(squares)
        if not measured.any():
            raise SourceError("the source has no condition rated for two anchors, so no label's error can be measured")
        pooled = squares[measured].mean()
        counts = measured.sum(axis=0)
        sums = np.where(measured, squares, 0).sum(axis=0)
        std: NDArray[np.float64] = np.sqrt(np.where(counts > 1, sums / np.maximum(counts, 1), pooled))
        return std
