"""The Gaussian process: closed forms, order, honest deviations, and sources that give it little to learn from."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression

from glint_label.errors import SourceError
from glint_label.transfer import RatedAnchors, make_transfer
from glint_label.transfer.gp import kernel, standardise
from glint_label.transfer.levels import keep_order
from glint_label.visibility import draw_between

CONDITIONS = tuple((name, level) for name in ("gaussian_blur", "jpeg") for level in range(1, 6))


def make_source(anchors=30, features=4, noise=0.1, seed=0):
    """Ratings that depend on content and visibility, with noise; the vectors are unit, the features half floats."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(anchors, 6))
    vectors = (content / np.linalg.norm(content, axis=1, keepdims=True)).astype(np.float32)
    visibility = draw_between(rng.normal(size=(anchors, len(CONDITIONS), features)).astype(np.float16), CONDITIONS)
    visibility = visibility.astype(np.float16)
    means = np.tile([4.5, 4.0, 3.2, 2.4, 1.6], 2)
    scores = (
        means + 0.4 * vectors[:, :1] + 0.2 * visibility[..., 0] + noise * rng.normal(size=(anchors, len(CONDITIONS)))
    )
    return RatedAnchors(vectors, scores, np.full(scores.shape, noise**2), CONDITIONS, visibility)


def fit(source, name="gp"):
    transfer = make_transfer(name, 10)
    transfer.fit(source)
    return transfer


def leave_out(source, name):
    labels = []
    for anchor in range(len(source.scores)):
        others = np.delete(np.arange(len(source.scores)), anchor)
        transfer = fit(source.select(others), name)
        labels.append(transfer.label(source.vectors[[anchor]], source.features[[anchor]]))
    return np.concatenate([one.mos for one in labels]), np.concatenate([one.mos_error for one in labels])


def test_content_and_visibility_each_bring_the_error_down():
    source = make_source()
    errors = {
        name: np.sqrt(np.mean((leave_out(source, name)[0] - source.scores) ** 2))
        for name in ("cell-mean", "gp-content", "gp")
    }
    assert errors["gp"] < 0.7 * errors["gp-content"]
    assert errors["gp-content"] < 0.95 * errors["cell-mean"]


def test_the_deviations_are_honest_for_anchors_it_has_not_seen():
    source = make_source(anchors=40, seed=1)
    mos, mos_error = leave_out(source, "gp")
    inside = np.abs(mos - source.scores) <= norm.ppf(0.95) * mos_error
    assert 0.85 < inside.mean() < 0.95


def test_the_posterior_mean_is_that_of_the_textbook(monkeypatch):
    """One condition, content alone: w = s (s K + n I)^-1 (y - m), so what is left, y - m - K w, is n / s times w."""
    monkeypatch.setattr("glint_label.transfer.gp.fit.CONTENT_SHARE", 1 - 1e-12)
    source = make_source(anchors=12)
    one = RatedAnchors(source.vectors, source.scores[:, :1], source.variances[:, :1], CONDITIONS[:1])
    model = fit(one, "gp-content").model
    weights = (model.arrays["content_rows"] @ model.arrays["content_columns"])[:, 0].astype(np.float64)
    predicted = model.arrays["means"][0] + kernel(one.vectors, one.vectors, model.width) @ weights
    left = one.scores[:, 0] - predicted
    noise_to_content = (left @ weights) / (weights @ weights)
    assert noise_to_content > 0
    np.testing.assert_allclose(left, noise_to_content * weights, atol=2e-3)


def test_a_photo_unlike_every_anchor_gets_the_condition_means_and_a_wider_deviation():
    source = make_source()
    wider = np.concatenate([source.vectors, np.zeros((30, 1), np.float32)], axis=1)
    transfer = fit(replace(source, vectors=wider), "gp-content")
    far = np.zeros((1, 7), dtype=np.float32)
    far[0, -1] = 1  # a direction that no anchor has
    near, unlike = transfer.label(wider), transfer.label(far)
    means = source.scores.mean(axis=0)
    assert np.abs(unlike.mos - means).mean() < 0.5 * np.abs(near.mos - means).mean()
    assert (unlike.mos_error > 1.5 * near.mos_error.max(axis=0)).all()


def test_labels_do_not_depend_on_the_other_references():
    source = make_source()
    transfer = fit(source)
    together = transfer.label(source.vectors, source.features)
    alone = transfer.label(source.vectors[3:4], source.features[3:4])
    np.testing.assert_allclose(together.mos[3], alone.mos[0], atol=1e-9)
    np.testing.assert_allclose(together.mos_error[3], alone.mos_error[0], atol=1e-9)
    np.testing.assert_allclose(together.weights.sum(axis=1), 1, atol=1e-6)


def test_fitting_twice_gives_the_same_bits():
    first, second = fit(make_source()).model, fit(make_source()).model
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])


def test_levels_stay_in_the_order_of_the_means():
    source = make_source(noise=0.5)
    mos = fit(source).label(source.vectors, 3 * source.features).mos
    for columns in (slice(0, 5), slice(5, 10)):
        assert (np.diff(mos[:, columns], axis=1) <= 1e-12).all()


def test_order_is_least_squares_and_leaves_unordered_distortions_alone():
    rng = np.random.default_rng(0)
    mos = rng.normal(size=(20, 5))
    conditions = [("gaussian_blur", level) for level in range(1, 6)]
    falling = keep_order(mos, np.arange(5.0)[::-1], conditions)
    for before, after in zip(mos, falling, strict=True):
        expected = IsotonicRegression(increasing=False).fit_transform(np.arange(5), before)
        np.testing.assert_allclose(after, expected, atol=1e-12)
    np.testing.assert_array_equal(keep_order(mos, np.array([1.0, 2, 3, 2, 1]), conditions), mos)


def test_features_far_outside_the_anchors_say_no_more_than_the_limit():
    source = make_source()
    transfer = fit(source)
    wild = np.full_like(source.features[:1], 1000.0)
    wilder = np.full_like(source.features[:1], 30000.0)
    first, second = (transfer.label(source.vectors[:1], one) for one in (wild, wilder))
    np.testing.assert_allclose(first.mos, second.mos)
    assert (first.mos_error > transfer.label(source.vectors[:1], source.features[:1]).mos_error).all()


def test_what_is_not_measured_counts_nothing():
    source = make_source()
    hidden = source.features.copy()
    hidden[:, 5:] = np.nan
    half = RatedAnchors(source.vectors, source.scores, source.variances, CONDITIONS, hidden)
    content = fit(source, "gp-content").label(source.vectors)
    labels = fit(half).label(source.vectors, hidden)
    assert np.isfinite(labels.mos).all()
    np.testing.assert_allclose(labels.mos[:, 5:], content.mos[:, 5:], atol=0.02)
    seen = standardise(hidden, np.zeros((10, 4), np.float32), np.ones((10, 4), np.float32))
    assert not seen[:, 5:].any()


# -- sources that give little to learn from ---------------------------------------------------------------------------


def check_sensible(source, name="gp"):
    labels = fit(source, name).label(source.vectors, source.features)
    assert np.isfinite(labels.mos).all()
    assert np.isfinite(labels.mos_error).all()
    assert (labels.mos_error > 0).all()
    low, high = np.nanmin(source.scores), np.nanmax(source.scores)
    assert (labels.mos >= low - 0.5).all()
    assert (labels.mos <= high + 0.5).all()
    return labels


@pytest.mark.parametrize("anchors", [2, 3])
def test_a_few_anchors_are_enough(anchors):
    check_sensible(make_source().select(np.arange(anchors)))


def test_one_anchor_is_not():
    with pytest.raises(SourceError, match="at least 2 anchors, the source has 1"):
        fit(make_source().select(np.arange(1)))


def test_a_cell_and_a_distortion_without_any_rating_fall_back_to_wider_means():
    source = make_source()
    holes = source.scores.copy()
    holes[:, 2] = np.nan
    holes[:, 5:] = np.nan
    labels = check_sensible(RatedAnchors(source.vectors, holes, source.variances, CONDITIONS, source.features))
    assert labels.mos[:, 5:].mean() == pytest.approx(np.nanmean(holes), abs=0.2)


def test_one_distortion_at_one_level():
    source = make_source()
    check_sensible(
        RatedAnchors(
            source.vectors, source.scores[:, :1], source.variances[:, :1], CONDITIONS[:1], source.features[:, :1]
        )
    )


def test_missing_ratings_are_left_out_not_invented():
    source = make_source()
    holes = source.scores.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.3] = np.nan
    labels = check_sensible(RatedAnchors(source.vectors, holes, source.variances, CONDITIONS, source.features))
    whole = fit(source).label(source.vectors, source.features)
    assert np.abs(labels.mos - whole.mos).mean() < 0.1


def test_a_distortion_rated_for_a_single_anchor_is_not_taken_for_certain():
    source = make_source()
    holes = source.scores.copy()
    holes[1:, 5:] = np.nan
    labels = check_sensible(RatedAnchors(source.vectors, holes, source.variances, CONDITIONS, source.features))
    assert labels.mos_error[:, 5:].mean() > labels.mos_error[:, :5].mean()


def test_constant_ratings_give_that_rating():
    source = make_source()
    flat = np.full_like(source.scores, 3.0)
    labels = check_sensible(RatedAnchors(source.vectors, flat, np.zeros_like(flat), CONDITIONS, source.features))
    np.testing.assert_allclose(labels.mos, 3.0, atol=1e-3)


def test_unknown_variances_of_the_ratings_are_learnt():
    source = make_source()
    unknown = RatedAnchors(
        source.vectors, source.scores, np.full_like(source.scores, np.nan), CONDITIONS, source.features
    )
    labels, known = check_sensible(unknown), fit(source).label(source.vectors, source.features)
    np.testing.assert_allclose(labels.mos, known.mos, atol=0.15)


def test_anchors_that_are_all_alike_give_the_condition_means():
    source = make_source()
    alike = np.tile(source.vectors[:1], (30, 1))
    labels = check_sensible(RatedAnchors(alike, source.scores, source.variances, CONDITIONS), "gp-content")
    np.testing.assert_allclose(labels.mos, np.tile(source.scores.mean(axis=0), (30, 1)), atol=0.05)


def test_equal_scores_on_another_scale_give_equal_labels_on_that_scale():
    """Nothing is tuned to the range of one dataset: 1..5 and 0..100 are the same problem."""
    source = make_source()
    other = RatedAnchors(
        source.vectors, 25 * (source.scores - 1), 25**2 * source.variances, CONDITIONS, source.features
    )
    first = fit(source).label(source.vectors, source.features)
    second = fit(other).label(source.vectors, source.features)
    np.testing.assert_allclose(25 * (first.mos - 1), second.mos, atol=0.05)
    np.testing.assert_allclose(25 * first.mos_error, second.mos_error, rtol=0.01)
