"""Search and grouping."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from glint_label.embed.embedder import unit_rows
from glint_label.neighbours import AnchorIndex, find_near_duplicates, near_anchors


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 1000))
def test_the_nearest_are_those_of_brute_force(anchors, k, seed):
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.normal(size=(anchors, 8)))
    queries = unit_rows(rng.normal(size=(5, 8)))
    indices, similarities = AnchorIndex(vectors).nearest(queries, k)
    every = queries @ vectors.T
    assert indices.shape == (5, min(k, anchors))
    np.testing.assert_allclose(similarities, -np.sort(-every, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, indices, axis=1), similarities, atol=1e-6)


def test_near_duplicates_are_joined_in_chains_and_led_by_the_first():
    angles = np.radians([0, 90, 5, 10, 180, 92])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    leaders = find_near_duplicates(vectors, threshold=np.cos(np.radians(6)))
    assert leaders.tolist() == [0, 1, 0, 0, 4, 1]  # 0 ~ 5 ~ 10 degrees, although 0 and 10 are further apart


def test_groups_do_not_depend_on_the_block_they_fall_into(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(300, 6)))
    vectors[150:160] = vectors[10:20]
    whole = find_near_duplicates(vectors, 0.95)
    monkeypatch.setattr("glint_label.neighbours._BLOCK", 7)
    np.testing.assert_array_equal(find_near_duplicates(vectors, 0.95), whole)
    assert whole[150:160].tolist() == whole[10:20].tolist()


def test_anchors_that_are_the_same_picture_are_named():
    anchors = np.eye(3, dtype=np.float32)
    index = AnchorIndex(anchors)
    assert near_anchors(index, ["x", "y", "z"], anchors[[1]], 0.98) == ["y"]
    assert near_anchors(index, ["x", "y", "z"], unit_rows(np.ones((1, 3))), 0.98) == [""]
