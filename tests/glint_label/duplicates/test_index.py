"""Search and grouping."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from glint_label.duplicates.index import DuplicateKeys, find_near_duplicates, recognise
from glint_label.duplicates.perceptual_hash import mirrored
from glint_label.embed import HASH_BYTES
from glint_label.embed.embedder import unit_rows
from glint_label.transfer.neighbours import AnchorIndex


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


def only_vectors(vectors):
    return DuplicateKeys(vectors, np.zeros((len(vectors), HASH_BYTES), dtype=np.uint8))


def only_hashes(hashes):
    return DuplicateKeys(np.zeros((len(hashes), 2), dtype=np.float32), hashes)


def flip_bits(key, number):
    bits = np.unpackbits(key)
    bits[:number] ^= 1
    return np.packbits(bits)


def test_near_duplicates_are_joined_in_chains_and_led_by_the_first():
    angles = np.radians([0, 90, 5, 10, 180, 92])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    leaders = find_near_duplicates(only_vectors(vectors), threshold=np.cos(np.radians(6)))
    assert leaders.tolist() == [0, 1, 0, 0, 4, 1]  # 0 ~ 5 ~ 10 degrees, although 0 and 10 are further apart


def test_fingerprints_join_too_mirrored_or_not_and_empty_ones_never():
    one, other = np.random.default_rng(0).integers(0, 256, (2, HASH_BYTES), dtype=np.uint8)
    nothing = np.zeros(HASH_BYTES, dtype=np.uint8)
    prints = np.stack(
        [one, nothing, other, flip_bits(one, 16), nothing, mirrored(flip_bits(other, 5)), flip_bits(one, 34)]
    )
    assert find_near_duplicates(only_hashes(prints), 0.9).tolist() == [0, 1, 2, 0, 4, 2, 6]


def test_similar_vectors_are_believed_only_if_the_fingerprints_allow_it():
    prints = np.random.default_rng(0).integers(0, 256, (5, HASH_BYTES), dtype=np.uint8)
    prints[1] = flip_bits(prints[0], 44)
    prints[3:] = 0  # neither has structure: the vectors decide
    same = np.tile(np.array([[1, 0]], dtype=np.float32), (5, 1))
    assert find_near_duplicates(DuplicateKeys(same, prints), 0.98).tolist() == [0, 0, 2, 3, 3]


def test_groups_do_not_depend_on_the_block_they_fall_into(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(300, 6)))
    vectors[150:160] = vectors[10:20]
    prints = rng.integers(0, 256, (300, HASH_BYTES), dtype=np.uint8)
    prints[200:210] = mirrored(prints[30:40])
    prints[[*range(10, 20), *range(150, 160)]] = 0
    pictures = DuplicateKeys(vectors, prints)
    whole = find_near_duplicates(pictures, 0.95)
    monkeypatch.setattr("glint_label.duplicates.index._BLOCK", 7)
    np.testing.assert_array_equal(find_near_duplicates(pictures, 0.95), whole)
    assert whole[150:160].tolist() == whole[10:20].tolist()
    assert whole[200:210].tolist() == whole[30:40].tolist()


def test_known_pictures_are_recognised_by_vector_or_fingerprint():
    prints = np.random.default_rng(0).integers(0, 256, (4, HASH_BYTES), dtype=np.uint8)
    known = DuplicateKeys(np.eye(3, dtype=np.float32), prints[:3])
    vectors = unit_rows(np.array([[0, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=np.float32))
    asked = DuplicateKeys(vectors, np.stack([flip_bits(prints[1], 30), mirrored(flip_bits(prints[2], 9)), prints[3]]))
    assert recognise(asked, known, 0.98).tolist() == [1, 2, -1]
    contradicted = DuplicateKeys(vectors, np.stack([prints[3], mirrored(prints[2]), prints[3]]))
    assert recognise(contradicted, known, 0.98).tolist() == [-1, 2, -1]
    nothing = DuplicateKeys(known.vectors[:0], known.hashes[:0])
    assert recognise(asked, nothing, 0.98).tolist() == [-1, -1, -1]
