"""Nearest anchors, and photos that are the same picture: exact search with FAISS.

All vectors here are of unit length, so the inner product is the cosine of the embedder's space.
"""

from dataclasses import dataclass
from hashlib import sha256

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from glint_label.duplicates.perceptual_hash import PERHAPS_SAME_PICTURE, SAME_PICTURE, distances, mirrored
from glint_label.embed import HASH_BYTES

# Photos compared at once with as many others. Even if all of them are one picture, their pairs take 30 MB. One thread
# does it: with so little to do at a time, several would wait for each other, for minutes on a machine that is busy.
_BLOCK = 512


@dataclass(frozen=True)
class DuplicateKeys:
    """What n photos are recognised by.

    Attributes:
        vectors: (n, d) float32, unit length; rows of zeros are like nothing.
        hashes: (n, 16) uint8; rows of zeros are like nothing.
    """

    vectors: NDArray[np.float32]
    hashes: NDArray[np.uint8]

    @property
    def structured(self) -> NDArray[np.bool_]:
        """(n,) whether each photo has a perceptual hash."""
        structured: NDArray[np.bool_] = np.any(self.hashes, axis=1)
        return structured

    def take(self, rows: slice | NDArray[np.int64]) -> "DuplicateKeys":
        """Choose some of them."""
        return DuplicateKeys(self.vectors[rows], self.hashes[rows])


class PictureIndex:
    """Photos, ready to be recognised.

    Two photos are the same picture if their hashes say so, or if their vectors do and the hashes do not
    contradict. Vectors alone would join different skies, and join them in chains: in 1,288 photos and sixths of photos
    the statistics made a group of 22 parts of 14 photos. Vectors decide alone where neither photo has a hash.

    Args:
        pictures: The photos, numbered as they come.
        threshold: Similarity above which two vectors are of the same picture.
    """

    def __init__(self, pictures: DuplicateKeys, threshold: float) -> None:
        self._threshold = float(threshold)  # of NumPy's own, it would compare in float64
        self._pictures = pictures
        self._structured = pictures.structured
        self._bits = faiss.IndexBinaryFlat(8 * HASH_BYTES)
        self._bits.add(np.ascontiguousarray(pictures.hashes))

    def find(self, pictures: DuplicateKeys) -> NDArray[np.bool_]:
        """Say of every pair of these pictures and the photos whether they are the same: (pictures, photos)."""
        structured = pictures.structured
        asking = np.flatnonzero(structured)
        same = np.zeros((len(structured), len(self._structured)), dtype=np.bool_)
        for view in (pictures.hashes[asking], mirrored(pictures.hashes[asking])):
            # FAISS wants a distance that is out of reach, not the largest within.
            limits, _, numbers = self._bits.range_search(np.ascontiguousarray(view), SAME_PICTURE + 1)
            rows = np.repeat(asking, (limits[1:] - limits[:-1]).astype(np.int64))
            same[rows, numbers] |= self._structured[numbers]
        # Not by FAISS, whose inner products are slow unless more than a thousand photos are asked for at once.
        similar = pictures.vectors @ self._pictures.vectors.T > self._threshold
        rows, numbers = _pairs(similar & ~same)
        same[rows, numbers] = structured[rows] == self._structured[numbers]
        both = structured[rows] & self._structured[numbers]
        rows, numbers = rows[both], numbers[both]
        differing = distances(pictures.hashes[rows], self._pictures.hashes[numbers])
        same[rows, numbers] = differing <= PERHAPS_SAME_PICTURE
        return same


def _pairs(same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List where a matrix is true, row by row; several times as fast as np.nonzero where it hardly ever is."""
    return np.divmod(np.flatnonzero(same), same.shape[1])


def find_near_duplicates(pictures: DuplicateKeys, threshold: float) -> NDArray[np.int64]:
    """Group photos that are the same picture.

    Every pair of distinct photos is compared: n^2 / 2 inner products and n^2 hashes, as they are and mirrored.
    Pairs that are found join their groups at once and are forgotten, so that a picture may have any number of copies.

    Args:
        pictures: The photos.
        threshold: Similarity above which two vectors are of the same picture.

    Returns:
        (n,) index of the first photo of each photo's group: its own where it has no earlier duplicate. Groups are
        the connected components of the pairs.
    """
    leader = _first_identical(pictures, threshold)
    distinct = np.flatnonzero(leader == np.arange(len(leader)))
    blocks: list[tuple[NDArray[np.int64], PictureIndex]] = []
    with threadpool_limits(1):
        for start in range(0, len(distinct), _BLOCK):
            rows = distinct[start : start + _BLOCK]
            asked = pictures.take(rows)
            blocks.append((rows, PictureIndex(asked, threshold)))  # it is compared with itself and those before it
            for earlier, index in blocks:
                leader = _join(leader, rows, earlier, index.find(asked))
    return leader


def _first_identical(pictures: DuplicateKeys, threshold: float) -> NDArray[np.int64]:
    """Find, for each photo, the first with the very same keys; photos that are like nothing stay alone."""
    same = np.arange(len(pictures.vectors))
    lengths = np.einsum("ij,ij->i", pictures.vectors, pictures.vectors)
    first: dict[bytes, int] = {}
    for row in np.flatnonzero(pictures.structured | (lengths > threshold)).tolist():
        keys = pictures.vectors[row].tobytes() + pictures.hashes[row].tobytes()
        same[row] = first.setdefault(sha256(keys).digest(), row)
    return same


def _join(
    leader: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64], same: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Join the groups of photos that are the same picture; `rows` and `columns` say which photos `same` is about."""
    ours, theirs = _pairs(same)
    if not len(ours):
        return leader
    groups, index = np.unique(leader[np.concatenate([rows, columns])], return_inverse=True)
    edges = (np.ones(len(ours), dtype=bool), (index[ours], index[len(rows) + theirs]))
    _, joined = connected_components(coo_array(edges, shape=(len(groups), len(groups))), directed=False)
    _, first = np.unique(joined, return_index=True)
    renamed = np.arange(len(leader))
    renamed[groups] = groups[first[joined]]  # in order of their leaders, so the first stays the leader
    return renamed[leader]


def recognise(pictures: DuplicateKeys, known: DuplicateKeys, threshold: float) -> NDArray[np.int64]:
    """Find, for each photo, the first known picture that it is.

    Args:
        pictures: n photos.
        known: The pictures to look for.
        threshold: Similarity above which two vectors are of the same picture.

    Returns:
        (n,) index in `known`; -1 where it is none of them.
    """
    none = len(known.vectors)
    first = np.full(len(pictures.vectors), none)
    with threadpool_limits(1):
        for offset in range(0, none, _BLOCK):
            index = PictureIndex(known.take(slice(offset, offset + _BLOCK)), threshold)
            unknown = np.flatnonzero(first == none)  # what an earlier block knows is not asked again
            for start in range(0, len(unknown), _BLOCK):
                rows = unknown[start : start + _BLOCK]
                same = index.find(pictures.take(rows))
                found = same.any(axis=1)
                first[rows[found]] = offset + same[found].argmax(axis=1)
    first[first == none] = -1
    return first
