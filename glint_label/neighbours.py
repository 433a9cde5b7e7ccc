"""Nearest anchors, and photos that are the same picture: exact inner-product search with FAISS.

All vectors here are of unit length, so the inner product is the cosine of the embedder's space.
"""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def find_near_duplicates(vectors: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Group photos that are the same picture.

    Args:
        vectors: (n, d) float32, unit length; rows of zeros are in no pair.
        threshold: Similarity from which two photos are taken to be the same picture.

    Returns:
        (n,) index of the first photo of each photo's group: its own where it has no earlier duplicate. Groups are
        the connected components of the pairs above the threshold.
    """
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    pairs: list[NDArray[np.int64]] = []
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        limits, _, found = index.range_search(block, float(threshold))
        rows = start + np.repeat(np.arange(len(block)), (limits[1:] - limits[:-1]).astype(np.int64))
        later = found < rows
        pairs.append(np.stack([rows[later], found[later]]))
    rows, columns = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(vectors), len(vectors)))
    _, group = connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    leader: NDArray[np.int64] = first[group]
    return leader


def near_anchors(
    index: AnchorIndex, names: Sequence[str], vectors: NDArray[np.float32], threshold: float
) -> list[str]:
    """Name, for each vector, the anchor that is the same picture; empty where there is none."""
    nearest, similarities = index.nearest(vectors, 1)
    return [
        names[anchor] if similarity > threshold else ""
        for anchor, similarity in zip(nearest[:, 0], similarities[:, 0], strict=True)
    ]
