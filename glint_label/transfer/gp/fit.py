"""A Gaussian process per distortion: condition means, and what content and visibility say of the deviation from them.

For anchor a at level l of one distortion the rating is modelled as

    y(a, l) = m(l) + d(l) (f(a, l) + v(a, l) + u(a, l) + e(a, l))

where d is how much photos differ at that level: less at the ends of the scale than in its middle. The means m have
flat priors, the rest zero-mean Gaussian priors with covariances (R = 0.8^|l - l'| ties the levels)

    f  content      s_f k(x_a, x_b) R,  k a Gaussian kernel of the distance between content vectors
    v  visibility s_v <z_al, z_bl'> / p R,  z the p standardised full-reference features of the distorted photo
    u  the anchor   s_u [a = b] R,  what neither explains, shared by its levels
    e  the rest     s_e, and the known variance of each rating

The four variances are those of greatest posterior density, under log-normal priors around fixed shares of the
distortion's own variance around the condition means. The posterior mean is linear in k(x, anchors) and in z: labels
are made from those two sets of weights, cut to a low rank that holds nearly all of them.
"""

# Our own, since no library that we know of has it: one process a distortion with tied levels, the known variance of
# each rating, priors on the variances, whole anchors left out in closed form, and a compact form that ships.
# scikit-learn's GaussianProcessRegressor takes known variances and has none of the rest.

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from glint_label.errors import SourceError
from glint_label.transfer.gp.model import LEAST_INSIDE, Columns, Floats, LabelModel, columns_of, kernel, standardise
from glint_label.transfer.transfer import Labels, RatedAnchors
from glint_label.visibility import draw_between

LEVEL_CORRELATION = 0.8  # of neighbouring levels
KERNEL_WIDTH = 0.25  # k = exp(-KERNEL_WIDTH * squared distance / its mean over pairs of anchors): wide, nearly linear
# Prior medians of s_f, s_v, s_u, s_e as shares of the variance around the condition means; deviation of their logs.
PRIOR_SHARES = (0.5, 0.25, 0.2, 0.05)
PRIOR_WIDTH = 0.6
FLAT = 100.0  # prior variance of a condition's mean, in units of the variance around it
PSEUDO_RATINGS = 50  # weight of all distortions together when one's errors are calibrated
RANK = 20  # of the features' weights
CONTENT_SHARE = 0.97  # of the kernel's variance: its weights are kept on the eigenvectors that hold so much
PRIOR_RATINGS = 5  # weight of the pooled variance in a distortion's own
LEVEL_RATINGS = 20  # weight of a distortion's variance in that of a level: few anchors say little about it
MIN_ANCHORS = 2
_NO_VARIANCE = 1e-6  # stands for the variance of ratings that are all the same, on a scale of a few points


def _mean_of(vectors: list[Floats], size: int) -> Floats:
    mean: Floats = np.mean(vectors, axis=0) if vectors else np.zeros(size)
    return mean


class GaussianProcess:
    """Fit the model of this module's docstring and label with its compact form.

    Args:
        uses_features: False for content alone.
        content_rank: At most so many directions of content count: what ships must not hold the ratings themselves.
    """

    slow_to_fit = True
    model: LabelModel

    def __init__(self, uses_features: bool, content_rank: int | None = None) -> None:
        self.uses_features = uses_features
        self._content_rank = content_rank

    @classmethod
    def fitted(cls, model: LabelModel) -> "GaussianProcess":
        """Make one that has been fitted before."""
        process = cls(model.uses_features)
        process.model = model
        return process

    def fit(self, anchors: RatedAnchors) -> None:
        """Fit one process a distortion; see Transfer.fit."""
        features = anchors.features if self.uses_features else None
        with threadpool_limits(1):  # the same bits in every process
            self.model = fit_model(anchors, features, self._content_rank)

    def label(self, vectors: NDArray[np.float32], features: NDArray[np.float16] | None = None) -> Labels:
        """Label references; see Transfer.label."""
        return self.model.label(vectors, features if self.model.uses_features else None)


def fit_model(
    anchors: RatedAnchors, features: NDArray[np.float16] | None, content_rank: int | None = None
) -> LabelModel:
    """Fit every distortion and gather the compact form.

    Raises:
        SourceError: Fewer than MIN_ANCHORS anchors.
    """
    count, conditions = anchors.scores.shape
    if count < MIN_ANCHORS:
        raise SourceError(f"gp needs at least {MIN_ANCHORS} anchors, the source has {count}")
    if features is None:
        features = np.full((count, conditions, 0), np.nan, dtype=np.float16)
    known = np.isfinite(anchors.variances)
    usual = float(anchors.variances[known].mean()) if known.any() else 0.0
    anchors = replace(anchors, variances=np.where(known, anchors.variances, usual))
    drawn = draw_between(features, anchors.conditions)
    feature_means, feature_scales = _spread(drawn)
    z = standardise(drawn, feature_means, feature_scales)
    width = _width(anchors.vectors)
    alike = kernel(anchors.vectors, anchors.vectors, width)
    groups = columns_of(anchors.conditions)
    centers = _centers(anchors.scores, list(groups.values()))
    pooled = float(np.nanmean((anchors.scores - centers) ** 2)) or _NO_VARIANCE
    fits: list[_Process] = []
    for columns in groups.values():
        # Distortions are alike in their shares: the search begins where those before it ended.
        begin = {size: _mean_of([fit.found for fit in fits if len(fit.found) == size], size) for size in (3, 4)}
        fits.append(_Process(anchors, columns, centers[columns], z, alike, pooled, begin))
    return _gather(anchors, fits, list(groups.values()), width, alike, (feature_means, feature_scales), content_rank)


def _centers(scores: Floats, groups: Sequence[Columns]) -> Floats:
    """Mean rating of each condition; where it has none, that of its distortion, or of all."""
    rated = np.isfinite(scores)
    sums, counts = np.where(rated, scores, 0).sum(axis=0), rated.sum(axis=0)
    centers = np.full(len(sums), sums.sum() / max(1, counts.sum()))
    for columns in groups:
        if counts[columns].any():
            centers[columns] = sums[columns].sum() / counts[columns].sum()
    return np.where(counts > 0, sums / np.maximum(counts, 1), centers)


def _level_deviations(deviations: Floats) -> Floats:
    """Deviation of each level relative to that of all, (levels,), from (anchors, levels) with NaN where not rated."""
    rated = np.isfinite(deviations)
    squares, counts = np.where(rated, deviations, 0) ** 2, rated.sum(axis=0)
    pooled = squares.sum() / max(1, counts.sum())
    if pooled == 0:
        return np.ones(deviations.shape[1])
    relative: Floats = (squares.sum(axis=0) / pooled + LEVEL_RATINGS) / (counts + LEVEL_RATINGS)
    return np.sqrt(relative)


def _usual_outside(anchors: NDArray[np.float32]) -> float:
    """Mean over anchors of the part that the others do not span: 1 / diagonal of the Gram matrix's inverse."""
    tiny = 1e-6  # an anchor within the others' span gives about this
    vectors = anchors.astype(np.float64)
    gram = np.linalg.inv(vectors @ vectors.T + tiny * np.eye(len(vectors)))
    return float(np.clip((1 / np.diag(gram) - tiny).mean(), 0, 1 - LEAST_INSIDE))


def _leading(alike: Floats) -> Floats:
    """Eigenvectors of the centred kernel that hold CONTENT_SHARE of its variance, (anchors, r)."""
    centred = alike - alike.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    values, axes = np.linalg.eigh((centred + centred.T) / 2)
    values = np.maximum(values[::-1], 0)
    if values.sum() < 1e-9:  # all anchors are alike: content says nothing
        return axes[:, :0]
    rank = 1 + int(np.searchsorted(np.cumsum(values), CONTENT_SHARE * values.sum()))
    return axes[:, ::-1][:, :rank]


def _width(vectors: NDArray[np.float32]) -> float:
    squares = 2 * (1 - vectors.astype(np.float64) @ vectors.T)
    mean = float(squares[np.triu_indices(len(vectors), 1)].mean())
    return KERNEL_WIDTH / mean if mean > 1e-12 else 0.0


def _spread(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each condition's features; one that is always the same, or not measured, counts 0."""
    values = features.astype(np.float64)
    measured = np.isfinite(values).all(axis=0)
    means = np.where(measured, np.where(measured, values, 0).mean(axis=0), 0)
    scales = np.where(measured, np.where(measured, values, 0).std(axis=0), 0)
    return means.astype(np.float32), np.where(scales > _SAME, scales, np.inf).astype(np.float32)


_SAME = 1e-6


class _Process:
    """The Gaussian process of one distortion: variances, weights, and errors of leaving anchors out."""

    def __init__(
        self,
        anchors: RatedAnchors,
        columns: Columns,
        center: Floats,
        z: Floats,
        alike: Floats,
        pooled: float,
        begin: dict[int, Floats],
    ) -> None:
        levels = np.array([anchors.conditions[column][1] for column in columns])
        scores = anchors.scores[:, columns]
        variances = anchors.variances[:, columns]
        rated = np.isfinite(scores)
        self.anchor, self.level = np.nonzero(rated)
        self.ratings = rated.sum(axis=0)  # of each level
        self.center = center
        self.spread = np.sqrt(pooled) * _level_deviations(scores - center)  # the unit of all that follows
        variances = variances / self.spread**2
        self.y = (scores[self.anchor, self.level] - center[self.level]) / self.spread[self.level]
        self.z = z[self.anchor, np.array(columns)[self.level]]
        self.rating_variance = np.where(rated, variances, 0).sum(axis=0) / np.maximum(self.ratings, 1)
        self.ties = LEVEL_CORRELATION ** np.abs(levels[:, None] - levels)  # R
        spare = max(0, len(self.y) - int((self.ratings > 0).sum()))  # what the means have left of the ratings
        self.scale = (float((self.y**2).sum()) + PRIOR_RATINGS) / (spare + PRIOR_RATINGS)
        # Of every label: a level's own noise, its raters', and that of its mean.
        self.own = self.rating_variance + self.scale / np.maximum(self.ratings, 1)
        ties = self.ties[np.ix_(self.level, self.level)]
        parts = [alike[np.ix_(self.anchor, self.anchor)] * ties]
        if self.z.any():
            parts.append(self.z @ self.z.T / self.z.shape[1] * ties)
        parts.append((self.anchor[:, None] == self.anchor) * ties)
        # The lower triangles hold all there is to know; the rest may be doubled into them for traces of products.
        self._parts = [np.asfortranarray(np.tril(part)) for part in parts]
        self._doubled = [2 * part - np.diag(np.diag(part)) for part in self._parts]
        fixed = FLAT * self.scale * (self.level[:, None] == self.level)
        self._fixed = np.asfortranarray(np.tril(fixed + np.diag(variances[self.anchor, self.level])))
        self._work, self._scaled = np.empty_like(self._fixed), np.empty_like(self._fixed)
        self._fit(begin)

    def _fit(self, begin: dict[int, Floats]) -> None:
        keep = [0, 1, 2, 3] if len(self._parts) == 3 else [0, 2, 3]
        median = np.log(np.array(PRIOR_SHARES)[keep] * self.scale)
        variances = np.exp(median)
        self.found = np.zeros(len(median))  # logarithms of the variances, from their prior medians
        self.inverse, self.alpha = np.zeros((0, 0)), np.zeros(0)
        if len(self.y):  # a fold of the audit may hold out the only anchor that was rated
            options = {"maxiter": 15, "ftol": 1e-2}
            start = median + begin[len(median)]
            best = minimize(self._loss, start, args=(median,), jac=True, method="L-BFGS-B", options=options)
            self.found = best.x - median
            variances = np.exp(best.x)
            lower, self.alpha, _ = self._invert(variances)
            self.inverse = np.tril(lower) + np.tril(lower, -1).T
        self.content, self.anchors_own, self.rest = variances[0], variances[-2], variances[-1]
        self.visible = variances[1] if len(self._parts) == 3 else 0.0

    def _invert(self, variances: Floats) -> tuple[Floats, Floats, float]:
        """Invert the covariance of the ratings: lower triangle, product with y, half the log determinant."""
        work = self._work
        work[:] = self._fixed
        for variance, part in zip(variances[:-1], self._parts, strict=True):
            work += np.multiply(part, variance, out=self._scaled)
        work[np.diag_indices_from(work)] += variances[-1]
        factor, failed = lapack.dpotrf(work, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise SourceError(
                "the anchors' ratings have no usable covariance; are there anchors with the same vector?"
            )
        half_log_determinant = float(np.log(np.diag(factor)).sum())
        alpha, _ = lapack.dpotrs(factor, self.y, lower=1)
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        return inverse, alpha, half_log_determinant

    def _loss(self, logs: Floats, median: Floats) -> tuple[float, Floats]:
        """Negative log posterior of the log variances, and its gradient."""
        variances = np.exp(logs)
        inverse, alpha, half_log_determinant = self._invert(variances)
        pull = (logs - median) / PRIOR_WIDTH**2
        loss = self.y @ alpha / 2 + half_log_determinant + pull @ (logs - median) / 2
        slopes = [np.vdot(inverse.T, part.T) - alpha @ part @ alpha for part in self._doubled]
        slopes.append(np.trace(inverse) - alpha @ alpha)
        return float(loss), variances * np.array(slopes) / 2 + pull

    @property
    def noise(self) -> float:
        """Variance that neither content nor visibility explains, raters' included."""
        return float(self.anchors_own + self.rest + self.rating_variance.mean())

    def weights(self, count: int) -> tuple[Floats, Floats, Floats]:
        """Posterior means: of the conditions (levels,), of k's weights (anchors, levels), of z's (p, levels)."""
        levels = len(self.center)
        by_anchor = np.zeros((count, levels))
        by_anchor[self.anchor, self.level] = self.alpha
        means = self.center + self.spread * FLAT * self.scale * by_anchor.sum(axis=0)
        by_feature = np.zeros((self.z.shape[1], levels))
        np.add.at(by_feature.T, self.level, self.z * self.alpha[:, None])
        share = self.visible / max(1, self.z.shape[1])
        content, features = self.content * by_anchor @ self.ties, share * by_feature @ self.ties
        return means, content * self.spread, features * self.spread

    def leverage(self) -> Floats:
        """The matrix L of a LabelModel, (p, p): the levels of an anchor count as one observation."""
        size = self.z.shape[1]
        if not self.visible:
            return np.zeros((size, size))
        ridge = size * self.noise / self.visible
        return np.linalg.inv(self.z.T @ self.z / len(self.center) + ridge * np.eye(size))

    def left_out(self, novelty: Floats, leverage: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Errors of leaving each anchor out, their expected squares, and their levels."""
        errors, expected = np.zeros_like(self.y), np.zeros_like(self.y)
        levels = len(self.center)
        own = self.anchors_own + self.rest + self.own[self.level]
        sizes = np.bincount(self.anchor)
        for size in np.unique(sizes[sizes > 0]):  # anchors with the same number of ratings are solved together
            anchors = np.flatnonzero(sizes == size)
            rows = np.flatnonzero(np.isin(self.anchor, anchors)).reshape(len(anchors), size)
            blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
            errors[rows] = np.linalg.solve(blocks, self.alpha[rows][..., None])[..., 0]
            z = self.z[rows]
            hat = z @ leverage @ z.swapaxes(1, 2) / levels
            unusual = np.diagonal(hat @ np.linalg.inv(np.eye(size) - hat), axis1=1, axis2=2) * levels
            expected[rows] = own[rows] + self.content * novelty[anchors, None] + self.noise * np.maximum(unusual, 0)
        shared = self.ratings[self.level] > 1  # a rating alone in its condition says nothing of errors
        spread = self.spread[self.level]
        return (spread * errors)[shared], (spread**2 * expected)[shared], self.level[shared]


def _gather(
    anchors: RatedAnchors,
    fits: Sequence[_Process],
    groups: Sequence[Columns],
    width: float,
    alike: Floats,
    spread: tuple[NDArray[np.float32], NDArray[np.float32]],
    content_rank: int | None,
) -> LabelModel:
    count, conditions = anchors.scores.shape
    size = spread[0].shape[1]
    ridge = sum(fit.noise for fit in fits) / sum(fit.content for fit in fits)
    precision = np.linalg.inv(alike + ridge * np.eye(count))
    novelty = np.clip(1 / np.diag(precision) - ridge, 0, 1)  # of each anchor, seen from the others
    means, content, features = np.zeros(conditions), np.zeros((count, conditions)), np.zeros((size, conditions))
    parts = {name: np.zeros(conditions) for name in ("noise", "novelty", "leverage")}
    leverages = np.stack([fit.leverage() for fit in fits])
    left_out = [fit.left_out(novelty, leverage) for fit, leverage in zip(fits, leverages, strict=True)]
    squares = sum(float((errors**2).sum()) for errors, _, _ in left_out)
    foreseen = sum(float(expected.sum()) for _, expected, _ in left_out)
    total = squares / foreseen if foreseen else 1.0
    for fit, columns, (errors, expected, level) in zip(fits, groups, left_out, strict=True):
        means[columns], content[:, columns], features[:, columns] = fit.weights(count)
        of_distortion = _calibrate(errors, expected, total)
        for index, column in enumerate(columns):
            here = level == index
            factor = _calibrate(errors[here], expected[here], of_distortion) * fit.spread[index] ** 2
            parts["noise"][column] = factor * (fit.anchors_own + fit.rest + fit.own[index])
            parts["novelty"][column] = factor * fit.content
            parts["leverage"][column] = factor * fit.noise
    content_rows = _leading(alike)[:, :content_rank]
    content_columns = content_rows.T @ content
    feature_rows, feature_columns = _low_rank(features)
    return LabelModel(
        anchors.conditions,
        width,
        {
            "means": means.astype(np.float32),
            "anchors": anchors.vectors,
            "content_rows": content_rows.astype(np.float32),
            "content_columns": content_columns.astype(np.float32),
            "outside": np.array([_usual_outside(anchors.vectors)], dtype=np.float32),
            "precision": precision.astype(np.float32),
            "feature_means": spread[0],
            "feature_scales": spread[1],
            "feature_rows": feature_rows,
            "feature_columns": feature_columns,
            "leverage": leverages.astype(np.float16),
            "noise": np.maximum(parts["noise"], _NO_VARIANCE).astype(np.float32),
            "novelty_variance": parts["novelty"].astype(np.float32),
            "leverage_variance": parts["leverage"].astype(np.float32),
        },
    )


def _calibrate(errors: Floats, expected: Floats, prior: float) -> float:
    """Ratio of squared errors to what was expected, drawn towards `prior`."""
    if not len(errors):
        return prior
    weight = PSEUDO_RATINGS * float(expected.mean())
    return float(((errors**2).sum() + prior * weight) / (expected.sum() + weight))


def _low_rank(weights: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor a matrix, keeping RANK of its singular values."""
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    return (left[:, :RANK] * values[:RANK]).astype(np.float32), right[:RANK].astype(np.float32)
