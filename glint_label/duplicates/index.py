"""Photos that are the same picture: exact search with FAISS.

All vectors here are of unit length, so the inner product is the cosine of the embedder's space.
"""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from glint_label.duplicates.perceptual_hash import PERHAPS_SAME_PICTURE, SAME_PICTURE, distances, mirrored
from glint_label.embed import HASH_BYTES

# Rows compared at once in the search for near-duplicates: bounds the memory at 100,000 references.
_BLOCK = 4096


@dataclass(frozen=True)
class DuplicateKeys:
    """What n photos are recognised by.

    Attributes:
        vectors: (n, d) float32, unit length; rows of zeros are like nothing.
        hashes: (n, 16) uint8; rows of zeros are like nothing.
    """

    vectors: NDArray[np.float32]
    hashes: NDArray[np.uint8]

    def take(self, rows: slice | NDArray[np.int64]) -> "DuplicateKeys":
        """Choose some of them."""
        return DuplicateKeys(self.vectors[rows], self.hashes[rows])


class PictureIndex:
    """Photos, ready to be recognised.

    Two photos are the same picture if their hashes say so, or if their vectors do and the hashes do not
    contradict. Vectors alone would join different skies, and join them in chains: in 1,288 photos and sixths of photos
    the statistics made a group of 22 parts of 14 photos. Vectors decide alone where neither photo has a hash.

    Args:
        dimensions: Length of a vector.
        threshold: Similarity above which two vectors are of the same picture.
    """

    def __init__(self, dimensions: int, threshold: float) -> None:
        self._threshold = threshold
        self._vectors = faiss.IndexFlatIP(dimensions)
        self._bits = faiss.IndexBinaryFlat(8 * HASH_BYTES)
        self._hashes = np.zeros((0, HASH_BYTES), dtype=np.uint8)

    def add(self, pictures: DuplicateKeys) -> None:
        """Add photos; they are numbered in the order of their coming."""
        self._vectors.add(np.ascontiguousarray(pictures.vectors))
        self._bits.add(np.ascontiguousarray(pictures.hashes))
        self._hashes = np.concatenate([self._hashes, pictures.hashes])

    def find(self, pictures: DuplicateKeys) -> NDArray[np.int64]:
        """Find every photo that is one of these pictures: (2, pairs) row of `pictures`, number of the photo."""
        limits, _, found = self._vectors.range_search(np.ascontiguousarray(pictures.vectors), self._threshold)
        similar = _pairs(limits, found)
        similar = similar[:, self._agree(pictures.hashes, similar)]
        asking = np.flatnonzero(pictures.hashes.any(axis=1))
        answers = [similar]
        for view in (pictures.hashes[asking], mirrored(pictures.hashes[asking])):
            # FAISS wants a distance that is out of reach, not the largest within.
            limits, _, found = self._bits.range_search(np.ascontiguousarray(view), SAME_PICTURE + 1)
            rows, numbers = _pairs(limits, found)
            seen = self._hashes[numbers].any(axis=1)
            answers.append(np.stack([asking[rows[seen]], numbers[seen]]))
        return np.concatenate(answers, axis=1)

    def _agree(self, hashes: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each pair whether its hashes allow it: near enough, or both missing."""
        ours, theirs = hashes[pairs[0]], self._hashes[pairs[1]]
        present = ours.any(axis=1), theirs.any(axis=1)
        near = present[0] & present[1] & (distances(ours, theirs) <= PERHAPS_SAME_PICTURE)
        agree: NDArray[np.bool_] = near | ~(present[0] | present[1])
        return agree


def _pairs(limits: NDArray[Any], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn FAISS's answer to a range search into (2, pairs) rows and what was found."""
    lengths = (limits[1:] - limits[:-1]).astype(np.int64)
    return np.stack([np.repeat(np.arange(len(lengths)), lengths), found])


def find_near_duplicates(pictures: DuplicateKeys, threshold: float) -> NDArray[np.int64]:
    """Group photos that are the same picture.

    Every pair is compared: n^2 / 2 inner products and n^2 hashes, as they are and mirrored.

    Args:
        pictures: The photos.
        threshold: Similarity above which two vectors are of the same picture.

    Returns:
        (n,) index of the first photo of each photo's group: its own where it has no earlier duplicate. Groups are
        the connected components of the pairs.
    """
    count, dimensions = pictures.vectors.shape
    index = PictureIndex(dimensions, threshold)
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    for start in range(0, count, _BLOCK):
        block = pictures.take(slice(start, start + _BLOCK))
        index.add(block)  # only now: a photo is compared with those before it and in its block
        rows, numbers = index.find(block)
        earlier = numbers < start + rows
        pairs.append(np.stack([start + rows[earlier], numbers[earlier]]))
    rows, columns = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    leader: NDArray[np.int64] = first[group]
    return leader


def recognise(pictures: DuplicateKeys, known: DuplicateKeys, threshold: float) -> NDArray[np.int64]:
    """Find, for each photo, the first known picture that it is.

    Args:
        pictures: n photos.
        known: The pictures to look for.
        threshold: Similarity above which two vectors are of the same picture.

    Returns:
        (n,) index in `known`; -1 where it is none of them.
    """
    count, dimensions = pictures.vectors.shape
    index = PictureIndex(dimensions, threshold)
    index.add(known)
    first = np.full(count, len(known.vectors))
    for start in range(0, count, _BLOCK):
        rows, numbers = index.find(pictures.take(slice(start, start + _BLOCK)))
        np.minimum.at(first, start + rows, numbers)
    first[first == len(known.vectors)] = -1
    return first
