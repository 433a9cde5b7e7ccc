"""Photos that are the same picture: as each other, or as known ones.

All vectors here are of unit length, so the inner product is the cosine of the embedder's space.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from glint_label.duplicates.disjoint_sets import DisjointSets
from glint_label.duplicates.near_hashes import near_hashes
from glint_label.duplicates.near_vectors import join_near_vectors
from glint_label.duplicates.perceptual_hash import PERHAPS_SAME_PICTURE, SAME_PICTURE, distances, mirrored
from glint_label.embed import HASH_BYTES

# Photos compared at once with as many others. Even if all of them are one picture, their pairs take 30 MB. One thread
# does it: with so little to do at a time, several would wait for each other, for minutes on a machine that is busy.
_BLOCK = 512
_EXHAUSTIVE = 4096  # distinct photos up to which every pair is compared: a second, less than to prepare a search
_CHUNK = 4096  # vectors read together


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


def find_near_duplicates(pictures: DuplicateKeys, threshold: float, threads: int = 1) -> NDArray[np.int64]:
    """Group photos that are the same picture.

    Up to _EXHAUSTIVE distinct photos are compared each with each. Of more, only those are that may be the same: the
    groups are the same ones, nothing is approximate. Hashes are searched by multi-index hashing (near_hashes.py),
    vectors in cells that the triangle inequality closes to each other (near_vectors.py). How many pairs are left
    depends on the photos. At worst, where vectors fill all directions evenly and the threshold is low, or where most
    hashes share most of their parts, it is all of them, at a nanosecond or a few for each.

    Pairs that are found join their groups at once and are forgotten, so that a picture may have any number of copies.

    Args:
        pictures: The photos; their vectors may lie on the disk (numpy.memmap), and are read in pieces.
        threshold: Similarity above which two vectors are of the same picture; above 0.
        threads: That compare vectors.

    Returns:
        (n,) index of the first photo of each photo's group: its own where it has no earlier duplicate. Groups are
        the connected components of the pairs.
    """
    sets = DisjointSets(len(pictures.vectors))
    with threadpool_limits(1):
        distinct = _join_identical(pictures, threshold, sets)
        if len(distinct) <= _EXHAUSTIVE:
            _compare_all(pictures.take(distinct), distinct, threshold, sets)
        else:
            _search(pictures, distinct, threshold, sets, threads)
    return sets.leaders()


def _join_identical(pictures: DuplicateKeys, threshold: float, sets: DisjointSets) -> NDArray[np.int64]:
    """Join photos with the very same keys, and give the first of each; those that are like nothing stay alone."""
    count, columns = pictures.vectors.shape
    odd = 2 * np.random.default_rng(0).integers(0, 2**63, columns + HASH_BYTES // 4, dtype=np.uint64) + np.uint64(1)
    digests = np.empty(count, dtype=np.uint64)
    comparable = pictures.structured
    for start in range(0, count, _CHUNK):
        span = slice(start, start + _CHUNK)
        chunk = np.ascontiguousarray(pictures.vectors[span], dtype=np.float32)
        keys = np.concatenate([chunk.view(np.uint32), np.ascontiguousarray(pictures.hashes[span]).view(np.uint32)], 1)
        digests[span] = (keys * odd).sum(axis=1)
        comparable[span] |= np.einsum("ij,ij->i", chunk, chunk) > threshold
    rows = np.flatnonzero(comparable)
    _, first, index = np.unique(digests[rows], return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[index] != np.arange(len(rows)))
    for start in range(0, len(copies), _CHUNK):
        mine = copies[start : start + _CHUNK]
        ones, others = rows[mine], rows[first[index[mine]]]
        same = (pictures.vectors[ones] == pictures.vectors[others]).all(axis=1)  # the digest alone could be chance
        same &= (pictures.hashes[ones] == pictures.hashes[others]).all(axis=1)
        sets.join(ones[same], others[same])
    distinct: NDArray[np.int64] = rows[sets.leaders(rows) == rows]
    return distinct


def _compare_all(pictures: DuplicateKeys, rows: NDArray[np.int64], threshold: float, sets: DisjointSets) -> None:
    """Compare each photo with each; `rows` are their numbers in `sets`."""
    blocks: list[tuple[NDArray[np.int64], PictureIndex]] = []
    for start in range(0, len(rows), _BLOCK):
        asked = pictures.take(slice(start, start + _BLOCK))
        mine = rows[start : start + _BLOCK]
        blocks.append((mine, PictureIndex(asked, threshold)))  # it is compared with itself and those before it
        for theirs, index in blocks:
            ones, others = _pairs(index.find(asked))
            sets.join(mine[ones], theirs[others])


def _search(
    pictures: DuplicateKeys, distinct: NDArray[np.int64], threshold: float, sets: DisjointSets, threads: int
) -> None:
    """Compare photos that may be the same; `distinct` are the first of each with the very same keys."""
    hashes = pictures.hashes
    has_hash = pictures.structured[distinct]
    plain, structured = distinct[~has_hash], distinct[has_hash]
    _, first, index = np.unique(
        np.ascontiguousarray(hashes[structured]).view(np.uint64), axis=0, return_index=True, return_inverse=True
    )
    sets.join(structured, structured[first[index.ravel()]])
    first = structured[np.sort(first)]
    for ones, others in near_hashes(hashes[first], first, sets):
        sets.join(ones, others)

    def uncontradicted(ones: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        return distances(hashes[ones], hashes[others]) <= PERHAPS_SAME_PICTURE

    def always(ones: NDArray[np.int64], _: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(ones), dtype=np.bool_)

    for rows, allowed in ((structured, uncontradicted), (plain, always)):
        join_near_vectors(pictures.vectors, rows, threshold, allowed, sets, threads)


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
