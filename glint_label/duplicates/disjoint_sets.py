"""Disjoint sets: groups that grow as pairs are found, so that no pair need be kept."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]


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
        leaders = self._above[rows]
        while not np.array_equal(higher := self._above[leaders], leaders):
            leaders = higher
        return leaders

    def join(self, ones: Rows, others: Rows) -> None:
        """Join the sets of pairs of things, given as two arrays of the same length."""
        if not len(ones):
            return
        mine, theirs = self.leaders(ones), self.leaders(others)
        self._above[ones], self._above[others] = mine, theirs  # the next look-up takes a step
        apart = mine != theirs
        if not apart.any():
            return
        sets, index = np.unique(np.concatenate([mine[apart], theirs[apart]]), return_inverse=True)
        edges = (np.ones(len(index) // 2, dtype=bool), tuple(np.split(index, 2)))
        _, joined = connected_components(coo_array(edges, shape=(len(sets), len(sets))), directed=False)
        _, first = np.unique(joined, return_index=True)
        self._above[sets] = sets[first[joined]]
