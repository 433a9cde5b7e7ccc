"""Disjoint sets: groups that grow as pairs are found, so that no pair need be kept."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]
_FAR = 4  # steps to a leader from which all are led there directly


class DisjointSets:
    """Things, each in a set of its own to begin with; a set is led by its first.

    One thread may join while others look leaders up: they see what was joined a moment ago, or not yet.

    Args:
        size: Number of things.
    """

    def __init__(self, size: int) -> None:
        self._above = np.arange(size)  # a thing of the same set that comes earlier; leaders stand for themselves

    def leaders(self, rows: Rows | slice = slice(None)) -> Rows:
        """Look up the leaders of some things, or of all."""
        return self._climb(rows)[0]

    def _climb(self, rows: Rows | slice) -> tuple[Rows, int]:
        """Look up leaders, and count the steps that the farthest took."""
        above, steps = self._above, 1
        leaders = above[rows]
        while not np.array_equal(higher := above[leaders], leaders):
            leaders, steps = higher, steps + 1
        return leaders, steps

    def join(self, ones: Rows, others: Rows) -> None:
        """Join the sets of pairs of things, given as two arrays of the same length."""
        if not len(ones):
            return
        (mine, far), (theirs, farther) = self._climb(ones), self._climb(others)
        if max(far, farther) > _FAR:
            self._above = self.leaders()
        apart = mine != theirs
        if not apart.any():
            return
        sets, index = np.unique(np.concatenate([mine[apart], theirs[apart]]), return_inverse=True)
        edges = (np.ones(len(index) // 2, dtype=bool), tuple(np.split(index, 2)))
        _, joined = connected_components(coo_array(edges, shape=(len(sets), len(sets))), directed=False)
        _, first = np.unique(joined, return_index=True)
        self._above[sets] = sets[first[joined]]
