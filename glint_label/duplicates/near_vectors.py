"""All pairs of vectors that are of the same picture, without comparing all pairs: cells that cannot reach each other.

Nothing here is approximate. Long vectors are shortened to their parts along a few directions and the length of what is
left: inner products of these are at least the true ones (Cauchy and Schwarz). The shortened vectors lie in cells, each
in that of its nearest centre. Where a vector is farther from the border of another cell, which is a plane, than two
vectors of one picture are from each other, there are none of its pictures behind. The rest is compared, and what may
be similar enough is looked at in full.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import faiss
import numpy as np
from numpy.typing import NDArray

from glint_label.duplicates.disjoint_sets import DisjointSets, Rows

_COLUMNS = 64  # of a shortened vector: of photos of the packaged embedder, a pair in a thousand passes the bound
_SAMPLE = 4096  # vectors that directions are chosen from
_OF_CENTRE = 64  # vectors a centre is chosen from
_ROUNDS = 8  # of k-means; more centres' places than these gain little
_CHUNK = 4096  # vectors read together
_BLOCK = 1024  # vectors a side that are compared together
_PAIRS = 1 << 15  # looked at in full together
# What float32 may be wrong by in a bound. The length of what is left is a root of a small difference.
_SLACK = 1e-3

Floats = NDArray[np.float32]
Pairs = tuple[Rows, Rows]
Check = Callable[[Rows, Rows], NDArray[np.bool_]]


def join_near_vectors(
    vectors: Floats, rows: Rows, threshold: float, allowed: Check, sets: DisjointSets, threads: int
) -> None:
    """Join the photos whose vectors' inner product is above the threshold, where something else allows it.

    Args:
        vectors: (n, d) float32, no longer than 1; may lie on the disk.
        rows: Which of them are compared, in ascending order.
        threshold: Above 0.
        allowed: Says of pairs of rows whether they may be joined; asked before vectors are looked at in full.
        sets: Of all n photos.
        threads: That compare.
    """
    if len(rows) < 2:
        return
    short = _shorten(vectors, rows)
    long_enough = np.einsum("ij,ij->i", short, short) > threshold**2 - _SLACK  # their lengths are those of the vectors
    if not long_enough.all():  # else a copy would be made of all of them
        rows, short = rows[long_enough], short[long_enough]
    if len(rows) < 2:
        return
    cells = _Cells(short, np.sqrt(max(2 - 2 * threshold, 0)))
    lock = Lock()

    def search(cell: int) -> None:
        for ones, others in cells.pairs(cell, threshold, rows, sets):
            for start in range(0, len(ones), _PAIRS):
                mine, theirs = rows[ones[start : start + _PAIRS]], rows[others[start : start + _PAIRS]]
                apart = sets.leaders(mine) != sets.leaders(theirs)
                mine, theirs = mine[apart], theirs[apart]
                may = allowed(mine, theirs)
                mine, theirs = mine[may], theirs[may]
                same = _similar(vectors, mine, theirs, threshold)
                with lock:
                    sets.join(mine[same], theirs[same])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(search, range(cells.number)):
            pass


def _shorten(vectors: Floats, rows: Rows) -> Floats:
    """Give vectors of few columns, as long as the given ones, whose inner products are nowhere less."""
    columns = vectors.shape[1]
    if columns <= _COLUMNS:
        return np.asarray(vectors) if len(rows) == len(vectors) else vectors[rows]
    sample = vectors[rows[:: -(-len(rows) // _SAMPLE)]]
    directions = np.random.default_rng(0).normal(size=(columns, _COLUMNS - 1))
    for _ in range(3):  # towards the directions in which they differ most
        directions, _ = np.linalg.qr(sample.T @ (sample @ directions))
    directions = directions.astype(np.float32)
    short = np.empty((len(rows), _COLUMNS), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        chunk = vectors[rows[start : start + _CHUNK]]
        along = chunk @ directions
        left = np.einsum("ij,ij->i", chunk, chunk) - np.einsum("ij,ij->i", along, along)
        short[start : start + _CHUNK, :-1] = along
        short[start : start + _CHUNK, -1] = np.sqrt(np.maximum(left, 0))
    return short


def _similar(vectors: Floats, ones: Rows, others: Rows, threshold: float) -> NDArray[np.bool_]:
    """Tell which pairs of vectors are similar."""
    same = np.zeros(len(ones), dtype=np.bool_)
    for start in range(0, len(ones), _CHUNK):
        span = slice(start, start + _CHUNK)
        same[span] = np.einsum("ij,ij->i", vectors[ones[span]], vectors[others[span]]) > threshold
    return same


class _Cells:
    """Vectors in cells, each about its centre.

    Args:
        vectors: (n, columns).
        reach: Distance that two vectors of one picture may have.
    """

    def __init__(self, vectors: Floats, reach: float) -> None:
        self._vectors = vectors
        centres = _choose_centres(vectors)
        self.number = len(centres)
        between = np.sqrt(_squares(centres, centres))
        own = np.concatenate(
            [_squares(vectors[at : at + _CHUNK], centres).argmin(axis=1) for at in range(0, len(vectors), _CHUNK)]
        )
        order = np.argsort(own, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(own, minlength=self.number))[:-1])
        # of each cell: (cells, members) whether a member may have its pictures in another cell, eight to a byte
        self._visits = []
        self._visited = np.zeros((self.number, self.number), dtype=np.bool_)
        for cell, members in enumerate(self._members):
            squares = _squares(vectors[members], centres)
            beyond = squares - squares[:, [cell]]  # twice the distance to the border, times that between the centres
            visits = beyond <= 2 * (reach + _SLACK) * between[cell] + _SLACK
            self._visited[cell] = visits.any(axis=0)
            self._visits.append(np.packbits(visits.T, axis=1))

    def pairs(self, cell: int, threshold: float, rows: Rows, sets: DisjointSets) -> Iterator[Pairs]:
        """Find what may be similar between a cell and itself and those after it, but for what is joined already."""
        for other in np.flatnonzero(self._visited[cell] & self._visited[:, cell]).tolist():
            if other < cell:
                continue
            if other == cell:
                members = self._members[cell]
                yield from self._compare(members, members, threshold, rows, sets)
            else:
                yield from self._compare(self._from(cell, other), self._from(other, cell), threshold, rows, sets)

    def _from(self, cell: int, other: int) -> Rows:
        members = self._members[cell]
        return members[np.unpackbits(self._visits[cell][other], count=len(members)).view(np.bool_)]

    def _compare(self, ones: Rows, others: Rows, threshold: float, rows: Rows, sets: DisjointSets) -> Iterator[Pairs]:
        itself = ones is others
        if len(ones) * len(others) > _BLOCK**2:  # photos that are joined lie side by side
            ones, others = (which[np.argsort(sets.leaders(rows[which]), kind="stable")] for which in (ones, others))
        for start in range(0, len(ones), _BLOCK):
            mine = ones[start : start + _BLOCK]
            for begin in range(start if itself else 0, len(others), _BLOCK):
                theirs = others[begin : begin + _BLOCK]
                if len(mine) * len(theirs) > _BLOCK:
                    leaders = sets.leaders(rows[np.concatenate([mine, theirs])])
                    if (leaders == leaders[0]).all():
                        continue
                alike = self._vectors[mine] @ self._vectors[theirs].T > threshold - _SLACK
                if np.count_nonzero(alike) > len(mine) + len(theirs):
                    alike &= np.not_equal.outer(sets.leaders(rows[mine]), sets.leaders(rows[theirs]))
                found = np.flatnonzero(alike)
                if len(found):
                    row, column = np.divmod(found, len(theirs))
                    yield mine[row], theirs[column]


def _choose_centres(vectors: Floats) -> Floats:
    """Choose about as many centres as the root of the number of vectors; any would do, good ones save time."""
    number = max(1, int(np.sqrt(len(vectors))))
    sample = vectors[:: max(1, len(vectors) // (_OF_CENTRE * number))]
    clusters = faiss.Kmeans(
        vectors.shape[1],
        number,
        niter=_ROUNDS,
        seed=0,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * _OF_CENTRE,
    )
    clusters.train(np.ascontiguousarray(sample))
    return np.asarray(clusters.centroids, dtype=np.float32)


def _squares(vectors: Floats, centres: Floats) -> Floats:
    """Squares of the distances between vectors and centres."""
    lengths = (np.einsum("ij,ij->i", each, each) for each in (vectors, centres))
    squares = np.add.outer(*lengths) - 2 * vectors @ centres.T
    least: Floats = np.maximum(squares, 0, out=squares)
    return least
