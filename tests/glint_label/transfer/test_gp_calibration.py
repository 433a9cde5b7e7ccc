"""What the Gaussian process says of its errors, on sources whose noise the tests know and the model does not.

Each source is drawn from a process: scores that bend with content and visibility, an offset of each photo in each
distortion, and ratings with noise. The model sees the ratings of 50 photos and labels 200 fresh ones of the same
source, whose own ratings then tell how far off it was.

How far a right model may stray: two distortions of 50 anchors are about 100 independent errors (the levels of one are
alike), so the deviation learnt from them is itself off by 1 / sqrt(2 x 100) = 7 %, which moves a 90 % interval's share
by 0.34 x 7 % = 0.024. The 400 independent errors of the fresh photos add sqrt(0.9 x 0.1 / 400) = 0.015 to the share,
and 1 / sqrt(2 x 400) = 3.5 % to the deviation that is seen. Together 0.028 and 8 %; over the six sources' mean 0.0115
and 3.2 %.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from glint_label.transfer import RatedAnchors, make_transfer

CONDITIONS = tuple((name, level) for name in ("gaussian_blur", "jpeg") for level in range(1, 6))
OF_DISTORTION = np.repeat([0, 1], 5)
MEANS = np.tile([4.5, 4.0, 3.2, 2.4, 1.6], 2)
STRENGTH = np.tile([0.4, 0.7, 1, 1, 0.7], 2)  # of what differs between photos: least where all are good or all bad
SOURCES, ANCHORS, FRESH = 6, 50, 200

Noise = Callable[[np.random.Generator, int], np.ndarray]  # deviation of each rating, (photos, 1 or conditions)
NOISES: dict[str, Noise] = {
    "little": lambda rng, count: np.full((count, 1), 0.05),
    "usual": lambda rng, count: np.full((count, 1), 0.2),
    "most of the variance": lambda rng, count: np.full((count, 1), 0.6),
    "by level": lambda rng, count: np.tile([0.1, 0.15, 0.2, 0.3, 0.4], (count, 2)),
    "by distortion": lambda rng, count: np.repeat([[0.1, 0.4]], count, axis=0).repeat(5, axis=1),
    "by photo": lambda rng, count: rng.choice([0.1, 0.2, 0.4], size=(count, 1)),
}


@dataclass(frozen=True)
class Source:
    """A process that ratings are drawn from."""

    seed: int
    noise: Noise

    def draw(self, count: int, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw photos: unit vectors, visibility features, ratings."""
        law, rng = np.random.default_rng(self.seed), np.random.default_rng((self.seed, part))
        straight, bent, seen = law.normal(size=(6, 2)), law.normal(size=(6, 6, 2)), law.normal(size=(4, 2))
        vectors = rng.normal(size=(count, 6))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        visibility = 0.6 * rng.normal(size=(count, 1, 4)) + 0.8 * rng.normal(size=(count, len(CONDITIONS), 4))
        content = 0.35 * vectors @ straight + 0.1 * np.einsum("ni,ijd,nj->nd", vectors, bent, vectors)
        own = content + 0.15 * rng.normal(size=(count, 2))
        scores = MEANS + STRENGTH * own[:, OF_DISTORTION]
        scores += 0.1 * np.einsum("ncp,pc->nc", visibility, seen[:, OF_DISTORTION])
        ratings = scores + self.noise(rng, count) * rng.normal(size=scores.shape)
        return vectors.astype(np.float32), visibility.astype(np.float16), ratings


@dataclass(frozen=True)
class Outcome:
    """Errors of the labels of fresh photos and the deviations given with them: (sources, photos, conditions)."""

    errors: np.ndarray
    mos_error: np.ndarray


def root_mean_square(values: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    return np.sqrt((values**2).mean(axis=axis))


@pytest.fixture(scope="module", params=itertools.product(NOISES, ("gp", "gp-content")), ids=", ".join)
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """Fit sources with a kind of noise by a transfer, and label their fresh photos."""
    noise, name = request.param
    errors, deviations = [], []
    with threadpool_limits(1):
        for seed in range(SOURCES):
            source, transfer = Source(seed, NOISES[noise]), make_transfer(name, 1)
            vectors, visibility, ratings = source.draw(ANCHORS, part=1)
            transfer.fit(RatedAnchors(vectors, ratings, np.full(ratings.shape, np.nan), CONDITIONS, visibility))
            vectors, visibility, ratings = source.draw(FRESH, part=2)
            labels = transfer.label(vectors, visibility)
            errors.append(labels.mos - ratings)
            deviations.append(labels.mos_error)
    return Outcome(np.array(errors), np.array(deviations))


def test_nine_of_ten_ratings_lie_inside_the_90_percent_interval(outcome: Outcome):
    share = (np.abs(outcome.errors) <= norm.ppf(0.95) * outcome.mos_error).mean(axis=(1, 2))
    assert abs(share.mean() - 0.9) < 3 * 0.0115
    assert np.abs(share - 0.9).max() < 4 * 0.028


def test_the_deviation_is_that_of_the_errors(outcome: Outcome):
    ratio = root_mean_square(outcome.mos_error, axis=(1, 2)) / root_mean_square(outcome.errors, axis=(1, 2))
    assert abs(ratio.mean() - 1) < 3 * 0.032
    assert np.abs(ratio - 1).max() < 4 * 0.08


def test_the_deviation_follows_the_errors_of_each_condition(outcome: Outcome):
    """A condition has 50 errors of its own against 50 pseudo-errors: half of a difference in variance is told."""
    given, true = (root_mean_square(values, axis=(0, 1)) for values in (outcome.mos_error, outcome.errors))
    assert ((given / true > 0.8) & (given / true < 2)).all()
    clearly_worse = true[:, None] > 1.5 * true
    assert (given[:, None] > given)[clearly_worse].all()
