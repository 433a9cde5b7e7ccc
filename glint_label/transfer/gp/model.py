"""A fitted Gaussian process in the compact form that makes labels, and that ships with the package; fit.py fits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import UsageError
from glint_label.sources import Condition
from glint_label.transfer.levels import keep_order
from glint_label.transfer.transfer import Labels
from glint_label.visibility import draw_between

Floats = NDArray[np.float64]
Columns = list[int]

CLIP = 4.0  # standard deviations beyond which a full-reference feature says no more: bounds the extrapolation
LEAST_INSIDE = 1e-3  # bounds the deviation of a photo that shares nothing with any anchor


@dataclass(frozen=True)
class LabelModel:
    """What a fitted process needs to make labels: arrays alone, in the precision in which they are shipped.

    Attributes:
        conditions: (distortion, level) of each column.
        width: Factor of the squared distance in the kernel.
        arrays: `means` (conditions,): label of a photo that resembles no anchor. `anchors` (anchors, d): unit vectors.
            `content_rows` (anchors, r) and `content_columns` (r, conditions): weights of k(x, anchors), on its
            leading eigenvectors: the others hardly move a label, and would hold the ratings' own noise.
            `precision` (anchors, anchors): 1 - k P k is how new a photo's content is, 0..1. `feature_means` and
            `feature_scales` (conditions, p): of the anchors. `feature_rows` (p, r) and `feature_columns`
            (r, conditions): weights of z, of low rank. `leverage` (distortions, p, p): z L z is how unusual a photo's
            is, in units of noise. `outside`: part of an anchor's vector that the others do not span. `noise`,
            `novelty_variance`, `leverage_variance` (conditions,): parts of the variance.
    """

    conditions: tuple[Condition, ...]
    width: float
    arrays: dict[str, NDArray[Any]]

    @property
    def uses_features(self) -> bool:
        """Whether it was fitted with full-reference features."""
        return bool(self.arrays["feature_means"].shape[1])

    def label(self, vectors: NDArray[np.float32], features: NDArray[np.float16] | None = None) -> Labels:
        """Label references; see Transfer.label."""
        arrays = self.arrays
        alike = kernel(vectors, arrays["anchors"], self.width)
        mos = arrays["means"] + alike @ arrays["content_rows"] @ arrays["content_columns"]
        novelty = 1 - np.einsum("na,ab,nb->n", alike, arrays["precision"], alike, optimize=True)
        novelty = np.clip(novelty, 0, 1) * self._reach(vectors)
        variance = arrays["noise"] + arrays["novelty_variance"] * novelty[:, None]
        if self.uses_features:
            if features is None:
                raise UsageError("this model was fitted with full-reference features; pass them")
            z = standardise(draw_between(features, self.conditions), arrays["feature_means"], arrays["feature_scales"])
            mos += np.einsum("ncp,pr,rc->nc", z, arrays["feature_rows"], arrays["feature_columns"], optimize=True)
            variance += arrays["leverage_variance"] * self._unusual(z)
        shares = alike @ arrays["precision"]
        weights = shares + (1 - shares.sum(axis=1, keepdims=True)) / shares.shape[1]
        return Labels(keep_order(mos, arrays["means"], self.conditions), np.sqrt(variance), weights)

    def _reach(self, vectors: NDArray[np.float32]) -> Floats:
        """How far beyond the anchors a photo lies: the squared length of its vector where theirs is 1, at least 1.

        The wide kernel is nearly linear, and the prior variance of a linear function grows with the squared length.
        """
        inside = 1 - outside_of(vectors, self.arrays["anchors"])
        usual = 1 - float(self.arrays["outside"][0])
        reach: Floats = np.maximum(usual / np.maximum(inside, LEAST_INSIDE), 1)
        return reach

    def _unusual(self, z: Floats) -> Floats:
        result = np.zeros(z.shape[:2])
        for matrix, columns in zip(self.arrays["leverage"], columns_of(self.conditions).values(), strict=True):
            part = z[:, columns]
            result[:, columns] = np.einsum("nlp,pq,nlq->nl", part, matrix.astype(np.float64), part, optimize=True)
        return np.maximum(result, 0)


def columns_of(conditions: Sequence[Condition]) -> dict[str, Columns]:
    """Group the conditions' columns by distortion."""
    groups: dict[str, Columns] = {}
    for column, (name, _) in enumerate(conditions):
        groups.setdefault(name, []).append(column)
    return groups


def kernel(vectors: NDArray[np.float32], anchors: NDArray[np.float32], width: float) -> Floats:
    """Similarity of contents, (n, anchors) in 0..1."""
    first, second = vectors.astype(np.float64), anchors.astype(np.float64)
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    similarity: Floats = np.exp(-width * np.maximum(squares, 0))
    return similarity


def outside_of(vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> Floats:
    """Part of each vector's squared length that the anchors do not span, 0..1."""
    _, values, axes = np.linalg.svd(anchors.astype(np.float64), full_matrices=False)
    axes = axes[values > 1e-6 * values.max(initial=0)]
    squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
    inside = ((vectors.astype(np.float64) @ axes.T) ** 2).sum(axis=1)
    outside: Floats = np.clip(1 - inside / np.maximum(squares, 1e-12), 0, 1)
    return outside


def standardise(features: NDArray[np.float32], means: NDArray[np.float32], scales: NDArray[np.float32]) -> Floats:
    """Bring features to mean 0 and deviation 1 over the anchors, cut off at CLIP; 0 where not measured."""
    z = (features.astype(np.float64) - means) / scales
    return np.clip(np.nan_to_num(z, nan=0.0), -CLIP, CLIP)
