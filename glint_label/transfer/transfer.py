"""What every transfer offers: fitted on anchors and their ratings, it labels references."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glint_label.sources import Cell


@dataclass(frozen=True)
class RatedAnchors:
    """What a transfer learns from.

    Attributes:
        vectors: (anchors, d) float32, unit length.
        scores: (anchors, cells) MOS, NaN where an anchor has no rating.
        variances: (anchors, cells), variance of each MOS over panels of raters; NaN where unknown.
        cells: (distortion, level) of each column.
        visibility: (anchors, cells, features), NaN where not measured; None where it is not at hand.
    """

    vectors: NDArray[np.float32]
    scores: NDArray[np.float64]
    variances: NDArray[np.float64]
    cells: tuple[Cell, ...]
    visibility: NDArray[np.float16] | None = None

    def select(self, rows: Any) -> "RatedAnchors":
        """Keep some anchors, given as a NumPy index of the rows."""
        visibility = None if self.visibility is None else self.visibility[rows]
        return RatedAnchors(self.vectors[rows], self.scores[rows], self.variances[rows], self.cells, visibility)


@dataclass(frozen=True)
class Labels:
    """Pseudo-labels of n references.

    Attributes:
        mos: (n, cells) on the source's range.
        mos_std: (n, cells), standard deviation of (label - rating) to be expected, same scale.
        weights: (n, anchors), how much each anchor's ratings count; rows sum to 1.
    """

    mos: NDArray[np.float64]
    mos_std: NDArray[np.float64]
    weights: NDArray[np.float64]


class Transfer(Protocol):
    """A rule that turns similarities to rated anchors into labels.

    Attributes:
        uses_visibility: Whether it wants the visibility features of anchors and references.
    """

    uses_visibility: bool

    def fit(self, anchors: RatedAnchors) -> None:
        """Learn from the anchors.

        Raises:
            SourceError: There are too few ratings to learn from.
        """

    def label(self, vectors: NDArray[np.float32], visibility: NDArray[np.float16] | None = None) -> Labels:
        """Label references.

        Args:
            vectors: (n, d) float32, unit length.
            visibility: (n, cells, features), as of the anchors; not needed where `uses_visibility` is False.
        """
