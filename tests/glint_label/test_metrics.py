"""Agreement with opinions: known values, invariances, honest NaN, intervals over contents."""

import warnings
from functools import partial
from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats

from glint_label import metrics
from glint_label.errors import InputError
from glint_label.metrics import MEASURES, Logistic, content_splits, fit_logistic, intervals, measure


@pytest.fixture
def rated():
    """Four hundred opinions and noisy scores of them on another, bent scale."""
    rng = np.random.default_rng(3)
    mos = rng.uniform(1, 5, 400)
    return np.exp(mos + rng.normal(0, 0.3, 400)), mos


def test_the_figures_are_scipys(rated):
    scores, mos = rated
    found = measure(scores, mos)
    assert found.images == 400
    assert found.srocc == pytest.approx(stats.spearmanr(scores, mos).statistic, abs=1e-12)
    assert found.plcc == pytest.approx(stats.pearsonr(scores, mos).statistic, abs=1e-12)
    assert found.krocc == pytest.approx(stats.kendalltau(scores, mos).statistic, abs=1e-12)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((scores - mos) ** 2)))
    assert found.warning == ""


def test_ties_count_as_scipy_counts_them():
    scores, mos = [1, 1, 2, 3, 3, 3, 4], [1, 2, 2, 2, 5, 3, 4]
    found = measure(scores, mos)
    assert found.srocc == pytest.approx(stats.spearmanr(scores, mos).statistic)
    assert found.krocc == pytest.approx(stats.kendalltau(scores, mos).statistic)


def test_the_logistic_fit_finds_the_curve_it_was_made_of():
    curve = Logistic(high=4.6, low=1.2, middle=30.0, width=7.0)
    scores = np.linspace(0, 70, 200)
    found = fit_logistic(scores, curve(scores))
    assert (found.high, found.low, found.middle, found.width) == pytest.approx((4.6, 1.2, 30.0, 7.0), rel=1e-4)
    fitted = measure(scores, curve(scores))
    assert fitted.plcc_fitted == pytest.approx(1, abs=1e-9)
    assert fitted.rmse_fitted == pytest.approx(0, abs=1e-6)
    assert fitted.plcc < 0.99


def test_the_fit_never_costs_agreement_and_helps_bent_scores(rated):
    found = measure(*rated)
    assert found.plcc_fitted > found.plcc + 0.02
    assert found.rmse_fitted < np.std(rated[1])


def test_scores_the_wrong_way_round_stay_negative_after_the_fit(rated):
    scores, mos = rated
    right, wrong = measure(scores, mos), measure(-scores, mos)
    for name in ("srocc", "plcc", "krocc", "plcc_fitted"):
        assert getattr(wrong, name) == pytest.approx(-getattr(right, name), abs=1e-6)
    assert wrong.rmse_fitted == pytest.approx(right.rmse_fitted, rel=1e-6)


@pytest.mark.parametrize(
    ("scores", "mos", "words"),
    [
        ([2.0] * 10, range(10), "all scores are the same"),
        (range(10), [3.3] * 10, "all opinions are the same"),
        ([0.1 + 0.2] * 5 + [0.3] * 5, range(10), "all scores are the same"),  # equal but for rounding
        ([1, 2], [1, 2], "2 images: no figures from fewer than 3"),
        ([], [], "0 images"),
    ],
)
def test_what_does_not_exist_is_nan_with_a_reason(scores, mos, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(list(scores), list(mos))
    assert words in found.warning
    for name in ("srocc", "plcc", "plcc_fitted", "krocc", "rmse_fitted"):
        assert np.isnan(getattr(found, name))
    assert np.isfinite(found.rmse) == (len(list(scores)) >= 3)


def test_few_images_have_correlations_but_no_fit():
    found = measure([1, 2, 3, 4, 5], [1, 2, 4, 3, 5])
    assert found.srocc == pytest.approx(0.9)
    assert np.isnan(found.plcc_fitted)
    assert np.isnan(found.rmse_fitted)
    assert "no logistic fit of fewer than 6" in found.warning


def test_a_fit_that_does_not_converge_is_nan_with_a_reason(rated, monkeypatch):
    monkeypatch.setattr(metrics, "least_squares", partial(metrics.least_squares, max_nfev=1))
    found = measure(*rated)
    assert np.isnan([found.plcc_fitted, found.rmse_fitted]).all()
    assert found.warning == "the logistic fit did not converge"
    assert found.srocc > 0.9
    assert np.isnan(intervals(*rated, range(400), ["plcc_fitted"], resamples=5)["plcc_fitted"]).all()


@pytest.mark.parametrize(
    ("scores", "mos", "words"),
    [
        ([1, np.nan, 3], [1, 2, 3], "1 of 3 scores are not finite"),
        ([1, 2, 3], [1, np.inf, 3], "1 of 3 opinions are not finite"),
        ([1, 2, 3], [1, 2], "of one length"),
    ],
)
def test_what_is_no_number_is_refused(scores, mos, words):
    with pytest.raises(InputError, match=words):
        measure(scores, mos)


whole = st.integers(-1000, 1000)


@settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.tuples(whole, whole), min_size=8, max_size=40), st.randoms(use_true_random=False))
def test_figures_keep_to_their_laws(pairs, random):
    x, y = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    found = measure(x, y)
    for name in ("srocc", "plcc", "plcc_fitted", "krocc"):
        value = getattr(found, name)
        assert np.isnan(value) or -1 <= value <= 1
    # Ranks do not see a rising map; correlation and fit do not see a change of unit; nothing sees the order.
    bent, scaled = measure(np.arctan(x / 100), y), measure(0.01 * x + 7, y)
    order = random.sample(range(len(x)), len(x))
    shuffled = measure(x[order], y[order])
    assert (bent.srocc, bent.krocc) == pytest.approx((found.srocc, found.krocc), nan_ok=True)
    assert scaled.plcc == pytest.approx(found.plcc, abs=1e-9, nan_ok=True)
    if (
        abs(found.plcc) > 0.5
    ):  # on noise no curve is much better than another, and rounding decides where a search ends
        assert scaled.rmse_fitted == pytest.approx(found.rmse_fitted, rel=2e-2, abs=1e-6)
    assert shuffled.srocc == pytest.approx(found.srocc, nan_ok=True)
    # A straight line is the limit of very wide logistics, so the fit loses no more than rounding against it.
    if not np.isnan(found.plcc_fitted):
        assert abs(found.plcc_fitted) >= abs(found.plcc) - 1e-3


def test_an_interval_is_seeded_and_surrounds_the_figure(rated):
    scores, mos = rated
    groups = np.arange(400) // 4
    found = intervals(scores, mos, groups, resamples=100)
    figures = measure(scores, mos)
    for name in MEASURES:
        low, high = found[name]
        assert low < getattr(figures, name) < high
    assert found == intervals(scores, mos, groups, resamples=100)
    assert found != intervals(scores, mos, groups, resamples=100, seed=1)


def test_an_interval_draws_whole_contents():
    """Copies of one opinion tell nothing new: the interval of every image forty times over is that of the images."""
    rng = np.random.default_rng(0)
    mos = rng.normal(size=30)
    scores = mos + rng.normal(size=30)
    once = intervals(scores, mos, np.arange(30), ["srocc", "plcc"])
    often = intervals(np.repeat(scores, 40), np.repeat(mos, 40), np.repeat(np.arange(30), 40), ["srocc", "plcc"])
    alone = intervals(np.repeat(scores, 40), np.repeat(mos, 40), np.arange(1200), ["srocc", "plcc"])
    assert often["plcc"] == pytest.approx(once["plcc"])
    assert often["srocc"] == pytest.approx(once["srocc"], abs=0.01)
    assert alone["srocc"][1] - alone["srocc"][0] < 0.4 * (once["srocc"][1] - once["srocc"][0])


@pytest.mark.parametrize("outlier", [0, 1e9, -1e100])
def test_an_interval_is_that_of_the_gathered_images(outlier):
    """Contents of one to six images, some values alike; one is far from all others, and in two resamples of three."""
    rng = np.random.default_rng(2)
    content = np.repeat(np.arange(10, 22), rng.integers(1, 7, 12))
    mos = rng.normal(size=len(content)).round(1)
    scores = mos + rng.normal(size=len(content)).round(1)
    scores[content == 17] += outlier
    draws = np.random.default_rng(5).integers(0, 12, (200, 12))
    rows = [np.concatenate([np.flatnonzero(content == 10 + one) for one in draw]) for draw in draws]
    found = intervals(scores, mos, content, ["srocc", "plcc"], resamples=200, seed=5)
    for name, correlation in (("srocc", stats.spearmanr), ("plcc", stats.pearsonr)):
        each = [correlation(scores[chosen], mos[chosen]).statistic for chosen in rows]
        assert found[name] == pytest.approx(tuple(np.percentile(each, [2.5, 97.5])), abs=1e-9)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    """Contents of four images with a common error: 95 % intervals over contents hold the true correlation."""
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(60):
        groups = np.repeat(np.arange(40), 4)
        mos = rng.normal(size=160)
        scores = mos + rng.normal(size=40)[groups] * 0.8 + rng.normal(size=160) * 0.6
        low, high = intervals(scores, mos, groups, ["plcc"], resamples=200, seed=trial)["plcc"]
        held += low <= 1 / np.sqrt(2) <= high
    assert held >= 52


def test_an_interval_needs_two_contents_and_scores_that_differ():
    scores, mos = np.arange(10.0), np.arange(10.0)
    assert np.isnan(intervals(scores, mos, ["a"] * 10)["srocc"]).all()
    assert np.isnan(intervals(np.zeros(10), mos, range(10), resamples=20)["srocc"]).all()
    # Half of all resamples of two contents draw one of them twice, and that one is constant: no figure.
    two = intervals(np.repeat([1.0, 2.0], 5), mos, np.repeat(["a", "b"], 5), ["srocc"], resamples=100)
    assert np.isnan(two["srocc"]).all()


def test_splits_keep_contents_together_and_are_those_of_the_protocol():
    groups = np.repeat([f"I{number:02d}" for number in range(1, 26)], 3)
    masks = list(content_splits(groups, 10))
    assert len(masks) == 10
    for mask in masks:
        assert mask.sum() == 15
        assert not set(groups[mask]) & set(groups[~mask])
    assert len({mask.tobytes() for mask in masks}) == 10
    shuffled = np.random.default_rng(0).permutation(len(groups))
    assert (next(content_splits(groups[shuffled], 1)) == masks[0][shuffled]).all()
    order = list(range(25))
    Random(12345).shuffle(order)
    assert set(groups[masks[0]]) == {f"I{index + 1:02d}" for index in order[20:]}
