"""What every embedder offers: preparation in the worker that decoded the photo, a network where a GPU is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glint_label.errors import InputError


class Preparation(Protocol):
    """Turn decoded pixels into an embedder's input. Small and picklable: it travels to the workers."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Any:
        """Prepare (H, W, 3) uint8 RGB."""


class Embedder(Protocol):
    """Turn photos into vectors whose inner product, once normalised, says how alike two contents are.

    Attributes:
        name: As given to `--embedder`.
        dimensions: Length of a vector.
        near_duplicate: Similarity from which two photos are taken to be the same picture, if their hashes allow.
        runs_network: Whether `embed` runs a network that a GPU would run faster, and may.
    """

    name: str
    dimensions: int
    near_duplicate: float
    runs_network: bool

    @property
    def preparation(self) -> Preparation:
        """The part that runs in the workers."""

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Embed one shard.

        The batch has one slot per reference of the shard whether or not it could be read, so that a vector never
        depends on which of its neighbours failed.

        Args:
            inputs: What `preparation` made of each photo; None where the photo could not be read.
            paths: The photos' files, in the same order.

        Returns:
            (len(paths), dimensions) float32; rows without an input are zero.
        """

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale raw vectors to unit length, in the space that the raw vectors of the anchors span."""

    def describe(self) -> dict[str, Any]:
        """Say what was computed with which weights and preprocessing, for run.json."""


class CosineSpace:
    """The space of embedders whose raw vectors are compared by their cosine."""

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: ARG002 (cosine needs no anchors)
        """Scale to unit length: the inner product is the cosine."""
        return unit_rows(vectors)


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale each row to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit


def centred_rows(vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract the anchors' mean from each row, then scale it to length 1."""
    return unit_rows(vectors - anchors.mean(axis=0))


def stack_rows(inputs: Sequence[NDArray[np.float32] | None], dimensions: int) -> NDArray[np.float32]:
    """Stack vectors that the workers made; a missing one becomes a row of zeros."""
    rows = np.zeros((len(inputs), dimensions), dtype=np.float32)
    for row, numbers in zip(rows, inputs, strict=True):
        if numbers is not None:
            row[:] = numbers
    return rows


def check_finite(vectors: NDArray[np.float32], paths: Sequence[Path]) -> None:
    """Refuse vectors that cannot be compared.

    Raises:
        InputError: Names the first photo whose vector holds NaN or infinity.
    """
    broken = ~np.isfinite(vectors).all(axis=1)
    if broken.any():
        raise InputError(f"{paths[int(np.argmax(broken))]}: its vector holds NaN or infinity")
