"""Nearest anchors, and photos that are the same picture: exact search with FAISS.

All vectors here are of unit length, so the inner product is the cosine of the embedder's space.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glint_label.fingerprint import BYTES, SAME_PICTURE, mirrored

# Rows compared at once in the search for near-duplicates: bounds the memory at 100,000 references.
_BLOCK = 4096


class AnchorIndex:
    """The anchors' vectors, ready to be searched.

    Args:
        vectors: (anchors, d) float32, unit length.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.size = len(vectors)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))

    def nearest(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k nearest anchors, nearest first; all of them where there are fewer than k.

        Returns:
            Indices and similarities, each (n, min(k, anchors)).
        """
        similarities, indices = self._index.search(np.ascontiguousarray(vectors), min(k, self.size))
        return indices, similarities


@dataclass(frozen=True)
class Pictures:
    """What n photos are recognised by.

    Attributes:
        vectors: (n, d) float32, unit length; rows of zeros are like nothing.
        fingerprints: (n, 16) uint8; rows of zeros are like nothing.
    """

    vectors: NDArray[np.float32]
    fingerprints: NDArray[np.uint8]


def find_near_duplicates(pictures: Pictures, threshold: float) -> NDArray[np.int64]:
    """Group photos that are the same picture, by their vectors or by their fingerprints.

    Every pair is compared: n^2 / 2 inner products, as many fingerprints, and those of the mirrored photos.

    Args:
        pictures: The photos.
        threshold: Similarity above which two photos are taken to be the same picture.

    Returns:
        (n,) index of the first photo of each photo's group: its own where it has no earlier duplicate. Groups are
        the connected components of the pairs.
    """
    count = len(pictures.vectors)
    pairs = [*_similar_pairs(pictures.vectors, threshold), *_alike_pairs(pictures.fingerprints)]
    rows, columns = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    leader: NDArray[np.int64] = first[group]
    return leader


def _similar_pairs(vectors: NDArray[np.float32], threshold: float) -> Iterator[NDArray[np.int64]]:
    """Yield (2, pairs) rows whose vectors are similar, the later one first."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        index.add(block)  # only now: a row is compared with itself and those before it
        limits, _, found = index.range_search(block, float(threshold))
        yield _earlier(start, limits, found)


def _alike_pairs(fingerprints: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """Yield (2, pairs) rows whose fingerprints agree, mirrored or not, the later one first."""
    present = np.flatnonzero(fingerprints.any(axis=1))
    index = faiss.IndexBinaryFlat(8 * BYTES)
    for start in range(0, len(present), _BLOCK):
        block = np.ascontiguousarray(fingerprints[present[start : start + _BLOCK]])
        index.add(block)
        for view in (block, mirrored(block)):
            # FAISS wants a distance that is out of reach, not the largest within.
            limits, _, found = index.range_search(view, SAME_PICTURE + 1)
            yield present[_earlier(start, limits, found)]


def _earlier(start: int, limits: NDArray[Any], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn FAISS's answer for the rows from `start` on into pairs with an earlier row."""
    lengths = (limits[1:] - limits[:-1]).astype(np.int64)
    rows = start + np.repeat(np.arange(len(lengths)), lengths)
    later = found < rows
    return np.stack([rows[later], found[later]])


def recognise(pictures: Pictures, known: Pictures, threshold: float) -> NDArray[np.int64]:
    """Find, for each photo, the known picture that it is.

    Args:
        pictures: n photos.
        known: The pictures to look for.
        threshold: Similarity above which two photos are taken to be the same picture.

    Returns:
        (n,) index in `known`: by fingerprint where one agrees, else by vector; -1 where it is none of them.
    """
    found = np.full(len(pictures.vectors), -1, dtype=np.int64)
    if not len(known.vectors):
        return found
    nearest, similarities = AnchorIndex(known.vectors).nearest(pictures.vectors, 1)
    similar = similarities[:, 0] > threshold
    found[similar] = nearest[similar, 0]
    present = np.flatnonzero(known.fingerprints.any(axis=1))
    asking = np.flatnonzero(pictures.fingerprints.any(axis=1))
    if len(present) and len(asking):
        index = faiss.IndexBinaryFlat(8 * BYTES)
        index.add(np.ascontiguousarray(known.fingerprints[present]))
        views = (pictures.fingerprints[asking], mirrored(pictures.fingerprints[asking]))
        answers = [index.search(np.ascontiguousarray(view), 1) for view in views]
        distances = np.stack([distance[:, 0] for distance, _ in answers])
        rows = np.stack([row[:, 0] for _, row in answers])
        best = distances.argmin(axis=0)[None]
        alike = np.take_along_axis(distances, best, axis=0)[0] <= SAME_PICTURE
        found[asking[alike]] = present[np.take_along_axis(rows, best, axis=0)[0][alike]]
    return found
