"""The search for the Gaussian process's variances: its gradient is that of its loss, and it ends near the mode."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from glint_label.transfer import GaussianProcess, RatedAnchors
from tests.glint_label.transfer.test_gp import make_source

SEARCH = "glint_label.transfer.gp.fit.minimize"  # what the fit calls once a distortion


@dataclass(frozen=True)
class Search:
    """What one distortion's fit searched, and what it found; `loss` gives value and gradient at log variances."""

    loss: Callable[[np.ndarray], tuple[float, np.ndarray]]
    median: np.ndarray  # of the prior: where the search knows nothing of the ratings yet
    found: np.ndarray

    def slope(self, logs: np.ndarray) -> np.ndarray:
        """Gradient by central differences."""
        step = 1e-4 * np.eye(len(logs))
        return np.array([self.loss(logs + one)[0] - self.loss(logs - one)[0] for one in step]) / 2e-4


@pytest.fixture(autouse=True)
def one_thread():
    """The matrices are small: threads of the linear algebra would only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(params=["content", "visibility"])
def uses_features(request: pytest.FixtureRequest) -> bool:
    return request.param == "visibility"


@pytest.fixture(params=["whole", "holes"])
def source(request: pytest.FixtureRequest) -> RatedAnchors:
    """Two distortions, rated for 20 anchors; with holes, a third of the ratings is missing, and one whole level."""
    source = make_source(anchors=20, seed=1)
    if request.param == "whole":
        return source
    scores = np.where(np.random.default_rng(5).random(source.scores.shape) < 1 / 3, np.nan, source.scores)
    scores[:, 2] = np.nan
    return replace(source, scores=scores)


@pytest.fixture
def searches(source: RatedAnchors, uses_features: bool, monkeypatch: pytest.MonkeyPatch) -> list[Search]:
    """Record what the fit searches; the search itself is the real one."""
    seen: list[Search] = []

    def recorded(loss, start, args, **options):
        best = minimize(loss, start, args=args, **options)
        seen.append(Search(lambda logs: loss(logs, *args), *args, best.x))
        return best

    monkeypatch.setattr(SEARCH, recorded)
    GaussianProcess(uses_features).fit(source)
    assert [len(search.found) for search in seen] == [4 if uses_features else 3] * 2
    return seen


def test_the_gradient_is_that_of_the_loss(searches: list[Search]):
    rng = np.random.default_rng(0)
    for search in searches:
        far = search.median + rng.normal(0, 2, size=(4, len(search.median)))  # each variance up to e^4 times too large
        for logs in (search.median, search.found, *far):
            # Gradients are 0.05 to 40 here; rounding of a loss of hundreds makes the differences wrong by 1e-7.
            np.testing.assert_allclose(search.loss(logs)[1], search.slope(logs), rtol=0, atol=2e-6)


def test_the_search_ends_near_the_mode(searches: list[Search]):
    for search in searches:
        mode = minimize(search.loss, search.found + 1, jac=True, method="L-BFGS-B", options={"ftol": 1e-12}).x
        (begun, slope), (ended, slope_left), (least, none) = map(search.loss, (search.median, search.found, mode))
        assert np.linalg.norm(none) < 1e-2
        # The search is short: a label hardly moves with the variances. It comes most of the way, by slope, by height
        # and by distance, of which the prior's own deviation is 0.6.
        assert np.linalg.norm(slope_left) < 0.6 * np.linalg.norm(slope)
        assert ended - least < 0.25 * (begun - least)
        assert np.abs(search.found - mode).max() < 0.5
