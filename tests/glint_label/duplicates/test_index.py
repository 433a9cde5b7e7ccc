"""Search and grouping."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glint_label.duplicates.index import DuplicateKeys, find_near_duplicates, recognise
from glint_label.duplicates.perceptual_hash import (
    MIRROR,
    PERHAPS_SAME_PICTURE,
    SAME_PICTURE,
    distances,
    mirrored,
)
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


def test_hashes_join_too_mirrored_or_not_and_empty_ones_never():
    one, other = np.random.default_rng(0).integers(0, 256, (2, HASH_BYTES), dtype=np.uint8)
    nothing = np.zeros(HASH_BYTES, dtype=np.uint8)
    prints = np.stack(
        [one, nothing, other, flip_bits(one, 16), nothing, mirrored(flip_bits(other, 5)), flip_bits(one, 34)]
    )
    assert find_near_duplicates(only_hashes(prints), 0.9).tolist() == [0, 1, 2, 0, 4, 2, 6]


def test_similar_vectors_are_believed_only_if_the_hashes_allow_it():
    prints = np.random.default_rng(0).integers(0, 256, (5, HASH_BYTES), dtype=np.uint8)
    prints[1] = flip_bits(prints[0], 44)
    prints[3:] = 0  # neither has structure: the vectors decide
    same = np.tile(np.array([[1, 0]], dtype=np.float32), (5, 1))
    assert find_near_duplicates(DuplicateKeys(same, prints), 0.98).tolist() == [0, 0, 2, 3, 3]


def photos_with_copies(seed):
    """100 photos, 30 of them plain, among 200 copies: identical, saved again, mirrored; a few are like nothing."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(100, 6))
    prints = rng.integers(0, 256, (100, HASH_BYTES), dtype=np.uint8)
    prints[:30] = 0
    copied = np.concatenate([np.arange(100), rng.integers(0, 100, 200)])
    vectors, prints = vectors[copied], prints[copied]
    vectors[150:] += rng.normal(scale=0.15, size=(150, 6))
    flipped = np.packbits(rng.random((150, 8 * HASH_BYTES)) < 0.12, axis=1)
    prints[150:] ^= np.where(prints[150:].any(axis=1, keepdims=True), flipped, 0)
    prints[250:] = mirrored(prints[250:])
    vectors = unit_rows(vectors)
    vectors[[5, 6, 110, 160, 260]] = 0
    order = rng.permutation(300)
    return DuplicateKeys(vectors[order], prints[order])


def same_pictures(ones, others, threshold):
    """Every pair, by the rule."""
    rows, columns = np.indices((len(ones.vectors), len(others.vectors))).reshape(2, -1)
    structured = ones.structured[rows], others.structured[columns]
    both, neither = structured[0] & structured[1], ~(structured[0] | structured[1])
    differing = distances(ones.hashes[rows], others.hashes[columns])
    similar = (ones.vectors @ others.vectors.T > threshold)[rows, columns]
    same = (both & (differing <= SAME_PICTURE)) | (similar & (neither | (both & (differing <= PERHAPS_SAME_PICTURE))))
    return same.reshape(len(ones.vectors), len(others.vectors))


@pytest.mark.parametrize("exhaustive", [0, 300], ids=["search", "exhaustive"])
@pytest.mark.parametrize(("seed", "block"), [(0, 3), (1, 64), (2, 300)])
def test_groups_are_the_connected_components_whatever_the_block(monkeypatch, exhaustive, seed, block):
    pictures = photos_with_copies(seed)
    same = same_pictures(pictures, pictures, 0.98)
    leaders = np.arange(len(same))
    while (spread := np.where(same, leaders, leaders[:, None]).min(axis=1)).tolist() != leaders.tolist():
        leaders = spread
    assert not same[np.arange(len(same)), leaders].all()  # chains: not every photo is the same as its leader
    monkeypatch.setattr("glint_label.duplicates.index._EXHAUSTIVE", exhaustive)
    monkeypatch.setattr("glint_label.duplicates.near_hashes._EVERY", np.inf)
    for module in ("index", "near_hashes", "near_vectors"):
        monkeypatch.setattr(f"glint_label.duplicates.{module}._BLOCK", block)
    monkeypatch.setattr("glint_label.duplicates.near_hashes._CANDIDATES", block)
    np.testing.assert_array_equal(find_near_duplicates(pictures, 0.98), leaders)


def many_with_copies(count, columns, kind, seed=0):
    """Photos, a twentieth of them plain, a tenth copies: saved again, mirrored, cropped; and which is a copy of which.

    Args:
        kind: `even`: anything is as likely as anything else. `alike`: vectors lie close together, and half the photos
            are symmetrical, so that the bits that a mirror turns are 0.
    """
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, columns)) + (0 if kind == "even" else 3)
    hashes = rng.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    if kind == "alike":
        hashes[::2] &= ~MIRROR
    hashes[::20] = 0
    vectors = unit_rows(vectors)
    originals, copied = np.split(rng.permutation(count)[: count // 5], 2)
    away = unit_rows(rng.normal(size=(len(copied), columns))) * rng.uniform(0.05, 0.25, (len(copied), 1))
    vectors[copied] = unit_rows(vectors[originals] + away)
    flipped = rng.random((len(copied), 8 * HASH_BYTES)) < rng.uniform(0, 0.4, (len(copied), 1))
    hashes[copied] = np.where(hashes[originals].any(axis=1, keepdims=True), hashes[originals], 0)
    hashes[copied] ^= np.where(hashes[copied].any(axis=1, keepdims=True), np.packbits(flipped, axis=1), 0)
    hashes[copied[::3]] = mirrored(hashes[copied[::3]])
    return DuplicateKeys(vectors, hashes), originals, copied


def check_against_every_pair(monkeypatch, pictures, originals, copied):
    found = find_near_duplicates(pictures, 0.98, threads=2)
    ones, others = pictures.take(originals), pictures.take(copied)
    planted = np.concatenate(
        [
            np.diagonal(same_pictures(ones.take(span), others.take(span), 0.98))
            for span in (slice(start, start + 500) for start in range(0, len(originals), 500))
        ]
    )
    assert 0.2 < planted.mean() < 0.9  # copies that are not recognised are among them
    assert (found[originals] == found[copied])[planted].all()
    monkeypatch.setattr("glint_label.duplicates.index._EXHAUSTIVE", len(found))
    np.testing.assert_array_equal(found, find_near_duplicates(pictures, 0.98))


@pytest.mark.parametrize(("kind", "columns"), [("even", 100), ("alike", 12)])
@pytest.mark.parametrize("every", [0, np.inf], ids=["hashes in blocks", "hashes by parts"])
def test_thousands_of_photos_have_the_groups_of_an_exhaustive_search(monkeypatch, every, kind, columns):
    monkeypatch.setattr("glint_label.duplicates.index._EXHAUSTIVE", 0)
    monkeypatch.setattr("glint_label.duplicates.near_hashes._EVERY", every)
    check_against_every_pair(monkeypatch, *many_with_copies(3000, columns, kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["even", "alike"])
@pytest.mark.parametrize("columns", [42, 512])
def test_20_000_photos_have_the_groups_of_an_exhaustive_search(monkeypatch, kind, columns):
    check_against_every_pair(monkeypatch, *many_with_copies(20_000, columns, kind))


@pytest.mark.parametrize("block", [3, 64, 300])
def test_the_first_known_picture_is_found_whatever_the_block(monkeypatch, block):
    everything = photos_with_copies(0)
    known, asked = everything.take(slice(0, 130)), everything.take(slice(130, 300))
    same = same_pictures(asked, known, 0.98)
    expected = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    assert (same.sum(axis=1) > 1).any()
    monkeypatch.setattr("glint_label.duplicates.index._BLOCK", block)
    np.testing.assert_array_equal(recognise(asked, known, 0.98), expected)


def peak_of(call):
    """Run it: what it returns, and the most memory it held at once, MB."""
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def copies(count, structured, noise):
    """One picture, `count` times: with or without a perceptual hash, saved a little differently each time or not."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=94) + noise * rng.normal(size=(count, 94)))
    prints = np.tile(rng.integers(0, 256, HASH_BYTES, dtype=np.uint8) * structured, (count, 1)).astype(np.uint8)
    if structured and noise:
        prints[:, :7] = rng.integers(0, 256, (count, 7))  # 28 bits differ: it takes the vectors too
    return DuplicateKeys(vectors, prints)


# MB. 512 photos are compared with 512 at once; if all of them are one picture, a pair takes up to 110 bytes: 29 MB,
# and the photos a few more. To keep the pairs of 2,000 copies until the end takes 64 at 16 bytes a pair, and took 476.
PEAK = 40


@pytest.mark.parametrize("structured", [False, True], ids=["plain", "structured"])
def test_a_crowd_of_one_picture_and_its_neighbours_is_grouped_as_by_an_exhaustive_search(monkeypatch, structured):
    crowd, strangers = copies(1500, structured, 0.02), copies(300, structured, 0.9)
    pictures = DuplicateKeys(
        np.concatenate([crowd.vectors, strangers.vectors]), np.concatenate([crowd.hashes, strangers.hashes])
    )
    monkeypatch.setattr("glint_label.duplicates.near_hashes._CROWD", 64)
    monkeypatch.setattr("glint_label.duplicates.near_hashes._EVERY", np.inf)
    every = find_near_duplicates(pictures, 0.98)
    monkeypatch.setattr("glint_label.duplicates.index._EXHAUSTIVE", 0)
    np.testing.assert_array_equal(find_near_duplicates(pictures, 0.98), every)
    assert 1 < len(np.unique(every)) < len(every)


@pytest.mark.parametrize(
    ("count", "structured", "noise"),
    [(2000, False, 0.001), (2000, True, 0.001), (20_000, False, 0), (20_000, True, 0)],
    ids=["plain", "saved-again", "identical-plain", "identical"],
)
def test_any_number_of_copies_of_a_picture_takes_little_memory(count, structured, noise):
    pictures = copies(count, structured, noise)
    leaders, peak = peak_of(lambda: find_near_duplicates(pictures, 0.98))
    assert not leaders.any()
    assert peak < PEAK


@pytest.mark.parametrize("structured", [False, True])
def test_copies_of_known_pictures_are_recognised_in_little_memory(structured):
    pictures = copies(2000, structured, 0.001)
    known, peak = peak_of(lambda: recognise(pictures, pictures, 0.98))
    assert not known.any()
    assert peak < PEAK


def test_known_pictures_are_recognised_by_vector_or_hash():
    prints = np.random.default_rng(0).integers(0, 256, (4, HASH_BYTES), dtype=np.uint8)
    known = DuplicateKeys(np.eye(3, dtype=np.float32), prints[:3])
    vectors = unit_rows(np.array([[0, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=np.float32))
    asked = DuplicateKeys(vectors, np.stack([flip_bits(prints[1], 30), mirrored(flip_bits(prints[2], 9)), prints[3]]))
    assert recognise(asked, known, 0.98).tolist() == [1, 2, -1]
    contradicted = DuplicateKeys(vectors, np.stack([prints[3], mirrored(prints[2]), prints[3]]))
    assert recognise(contradicted, known, 0.98).tolist() == [-1, 2, -1]
    nothing = DuplicateKeys(known.vectors[:0], known.hashes[:0])
    assert recognise(asked, nothing, 0.98).tolist() == [-1, -1, -1]
