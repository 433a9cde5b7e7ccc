"""Content statistics and CLIP together: nine parts of what hides a distortion, one part of what the photo shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.embed.clip import ClipEmbedder
from glint_label.embed.embedder import Preparation, unit_rows
from glint_label.embed.statistics import StatisticsEmbedder

STATISTICS_SHARE = 0.9  # the mixture that won on KADID-10k's anchors


class HybridPreparation:
    """Both preparations of one decoded photo."""

    def __init__(self, first: Preparation, second: Preparation) -> None:
        self._parts = (first, second)

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Prepare (H, W, 3) uint8 RGB for both."""
        return self._parts[0](pixels), self._parts[1](pixels)


class HybridEmbedder:
    """A similarity of 0.9 statistics + 0.1 CLIP, both centred on the anchors."""

    name = "hybrid"
    near_duplicate = 0.98

    def __init__(self, statistics: StatisticsEmbedder, clip: ClipEmbedder) -> None:
        self._statistics = statistics
        self._clip = clip
        self.dimensions = statistics.dimensions + clip.dimensions
        self.preparation = HybridPreparation(statistics.preparation, clip.preparation)

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Concatenate both raw vectors."""
        first = self._statistics.embed([None if both is None else both[0] for both in inputs], paths)
        second = self._clip.embed([None if both is None else both[1] for both in inputs], paths)
        return np.concatenate([first, second], axis=1)

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weigh the unit vectors of both parts so that inner products mix in the given shares."""
        split = self._statistics.dimensions
        statistics = self._statistics.normalise(vectors[:, :split], anchors[:, :split])
        clip = unit_rows(vectors[:, split:] - anchors[:, split:].mean(axis=0))
        shares = np.sqrt([STATISTICS_SHARE, 1 - STATISTICS_SHARE]).astype(np.float32)
        return np.concatenate([shares[0] * statistics, shares[1] * clip], axis=1)

    def describe(self) -> dict[str, Any]:
        """Both parts and the share of the first."""
        parts = [self._statistics.describe(), self._clip.describe()]
        return {"embedder": self.name, "statistics_share": STATISTICS_SHARE, "parts": parts}
