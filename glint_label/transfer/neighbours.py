"""Nearest anchors: exact search with FAISS. Vectors are of unit length, so the inner product is the cosine."""

import faiss
import numpy as np
from numpy.typing import NDArray


class AnchorIndex:
    """The anchors' vectors, ready to be searched.

    Args:
        vectors: (anchors, d) float32, unit length.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.size = len(vectors)
        self._vectors = vectors
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))

    def __reduce__(self) -> tuple[type["AnchorIndex"], tuple[NDArray[np.float32]]]:
        """Travel to worker processes as plain vectors."""
        return AnchorIndex, (self._vectors,)

    def nearest(self, vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k nearest anchors, nearest first; all of them where there are fewer than k.

        Returns:
            Indices and similarities, each (n, min(k, anchors)).
        """
        similarities, indices = self._index.search(np.ascontiguousarray(vectors), min(k, self.size))
        return indices, similarities


def similarity_among(vectors: NDArray[np.float32]) -> dict[str, float]:
    """Say how near the anchors are to each other: what a reference can be held against.

    Args:
        vectors: (anchors, d) float32, unit length.

    Returns:
        Percentile -> similarity of an anchor to its nearest other one; empty where there are fewer than two.
    """
    if len(vectors) < 2:
        return {}
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    percentiles = (0, 5, 25, 50, 75, 100)
    values = np.percentile(alike.max(axis=1), percentiles).round(4).tolist()
    return {str(percentile): value for percentile, value in zip(percentiles, values, strict=True)}
