"""Labels from neighbours: closed forms on tiny sources, published figures on the real one."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from glint_label.embed.statistics import StatisticsEmbedder
from glint_label.errors import SourceError, UsageError
from glint_label.images import read_photo
from glint_label.sources import load_source
from glint_label.transfer import TRANSFERS, RatedAnchors, make_transfer

NEAREST = ("top1", "knn", "syndr", "cell-mean")

# Four directions in the plane; the first two are close.
ANCHORS = np.array([[1, 0], [0.98, 0.199], [0, 1], [-1, 0]], dtype=np.float32)
SCORES = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0], [5.0, 1.0]])
QUERY = np.array([[0.999, 0.04]], dtype=np.float32)


def rated(vectors, scores):
    conditions = tuple(("gaussian_blur", level) for level in range(1, scores.shape[1] + 1))
    return RatedAnchors(vectors, scores, np.full(scores.shape, np.nan), conditions)


def fitted(name, scores=SCORES, k=2):
    transfer = make_transfer(name, k)
    transfer.fit(rated(ANCHORS[: len(scores)], scores))
    return transfer


@pytest.mark.parametrize(
    ("name", "expected", "weights"),
    [
        ("top1", [1.0, 5.0], [1, 0, 0, 0]),
        ("knn", [1.5, 4.5], [0.5, 0.5, 0, 0]),
        ("cell-mean", [2.75, 3.25], [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_labels_are_the_mean_of_the_neighbours(name, expected, weights):
    labels = fitted(name).label(QUERY)
    np.testing.assert_allclose(labels.mos, [expected])
    np.testing.assert_allclose(labels.weights, [weights])


def test_syndr_weighs_up_to_five_anchors_near_the_best_cosine_by_their_softmax():
    labels = fitted("syndr").label(QUERY)
    cosines = (ANCHORS @ QUERY[0]).astype(np.float64)
    near = np.exp(cosines[:2]) / np.exp(cosines[:2]).sum()  # the other two are farther than 0.05 from the best
    np.testing.assert_allclose(labels.weights, [[*near, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(labels.mos, [near @ SCORES[:2]], rtol=1e-6)
    crowd = np.stack([np.cos(angles := np.linspace(0, 0.1, 9)), np.sin(angles)], axis=1).astype(np.float32)
    transfer = make_transfer("syndr", 3)
    transfer.fit(rated(crowd, np.linspace(1, 5, 9)[:, None]))
    weights = transfer.label(crowd[:1]).weights[0]
    assert (weights[:5] > 0).all()
    assert not weights[5:].any()


def test_the_std_of_the_cell_mean_is_the_leave_one_out_error():
    others = [[np.mean(np.delete(SCORES[:, condition], row)) for condition in (0, 1)] for row in range(4)]
    expected = np.sqrt(np.mean((SCORES - others) ** 2, axis=0))
    np.testing.assert_allclose(fitted("cell-mean").label(QUERY).mos_error, [expected])


def test_an_unrated_cell_falls_to_the_next_rated_neighbour_or_the_mean_of_all():
    scores = SCORES.copy()
    scores[0, 0] = np.nan
    assert fitted("knn", scores).label(QUERY).mos[0, 0] == 2.0
    assert fitted("top1", scores).label(QUERY).mos[0, 0] == pytest.approx((2 + 3 + 5) / 3)


@pytest.mark.parametrize("name", NEAREST)
def test_labels_never_leave_the_span_of_the_ratings(name):
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(50, 2)).astype(np.float32)
    mos = fitted(name).label(queries / np.linalg.norm(queries, axis=1, keepdims=True)).mos
    assert (mos >= 1).all()
    assert (mos <= 5).all()


@pytest.mark.parametrize("name", TRANSFERS)
def test_a_label_does_not_depend_on_the_other_references(name):
    queries = np.tile(QUERY, (64, 1))
    queries[1:, 1] += 0.3
    together = fitted(name).label(queries)
    np.testing.assert_allclose(together.mos[0], fitted(name).label(QUERY).mos[0], rtol=1e-12)


def test_more_neighbours_than_anchors_are_all_of_them():
    np.testing.assert_allclose(fitted("knn", k=100).label(QUERY).mos, fitted("cell-mean").label(QUERY).mos)


def test_one_anchor_is_too_few_to_know_the_error():
    with pytest.raises(SourceError, match="no condition rated for two anchors"):
        fitted("top1", SCORES[:1])


def test_names_and_numbers_are_checked():
    with pytest.raises(UsageError, match="unknown transfer 'best'; known are top1, knn, syndr, cell-mean"):
        make_transfer("best", 1)
    with pytest.raises(UsageError, match="--k 0"):
        make_transfer("knn", 0)


@pytest.mark.slow
def test_kadid10k_left_out_anchors_are_predicted_as_well_as_published(shared):
    source = load_source("kadid10k", shared / "data" / "kadid10k", allow_missing_anchors=True)
    embedder = StatisticsEmbedder()
    raw = np.array([embedder.preparation(read_photo(path).pixels) for path in source.anchors.values()])
    vectors, scores = embedder.normalise(raw, raw), source.scores(source.conditions)
    figures = {}
    for name in NEAREST:
        predicted = []
        for left_out in range(len(raw)):
            rest = np.delete(np.arange(len(raw)), left_out)
            transfer = make_transfer(name, 10)
            transfer.fit(rated(vectors[rest], scores[rest]))
            predicted.append(transfer.label(vectors[left_out : left_out + 1]).mos[0])
        figures[name] = spearmanr(np.ravel(predicted), scores.ravel()).statistic
    assert figures["cell-mean"] == pytest.approx(0.938, abs=0.001)
    assert figures["top1"] > 0.915
    assert figures["knn"] > 0.948
