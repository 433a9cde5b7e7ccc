"""Several embedders in one: a similarity that mixes theirs in given shares, each centred on the anchors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.embed.embedder import CosineSpace, Embedder, Preparation, centred_rows


@dataclass(frozen=True)
class Mixture:
    """What is mixed.

    Attributes:
        shares: Embedder -> its share; they sum to 1.
        near_duplicate: As an embedder's.
    """

    shares: Mapping[str, float]
    near_duplicate: float


# The mixtures that won on KADID-10k's anchors, with the embedder that needs a hub and without it: statistics say what
# hides a distortion, a network says what the photo shows.
MIXTURES = {
    "hybrid": Mixture({"statistics": 0.9, "clip": 0.1}, near_duplicate=0.98),
    # Of 184 photos the closest different two lie at 0.86. Copies saved as JPEG of quality 90, mirrored, cropped by
    # 10 px or scaled by 0.75 lie above 0.90.
    "packaged": Mixture({"statistics": 0.5, "efficientnet": 0.5}, near_duplicate=0.9),
}


class MixedPreparation:
    """The preparations of all parts, on one decoded photo."""

    def __init__(self, parts: Sequence[Preparation]) -> None:
        self._parts = tuple(parts)

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[Any, ...]:
        """Prepare (H, W, 3) uint8 RGB for each part."""
        return tuple(part(pixels) for part in self._parts)


class MixedEmbedder:
    """A similarity that is the sum of those of its parts, each times its share.

    Args:
        name: One of MIXTURES.
        parts: Its embedders, in its order.
    """

    def __init__(self, name: str, parts: Sequence[Embedder]) -> None:
        self.name = name
        self.near_duplicate = MIXTURES[name].near_duplicate
        self._parts = tuple(parts)
        self._shares = tuple(MIXTURES[name].shares.values())
        self._cuts = np.cumsum([part.dimensions for part in parts])
        self.dimensions = int(self._cuts[-1])
        self.runs_network = any(part.runs_network for part in parts)
        self.preparation = MixedPreparation([part.preparation for part in parts])

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Concatenate the raw vectors of the parts."""
        of_parts = [[None if one is None else one[place] for one in inputs] for place in range(len(self._parts))]
        return np.concatenate(
            [part.embed(prepared, paths) for part, prepared in zip(self._parts, of_parts, strict=True)], axis=1
        )

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weigh the unit vectors of the parts so that inner products mix in the given shares."""
        spans = (np.split(rows, self._cuts[:-1], axis=1) for rows in (vectors, anchors))
        units = []
        for part, share, own, of_anchors in zip(self._parts, self._shares, *spans, strict=True):
            # Cosines of a network alone are all high; around the anchors' mean they are spread as the others' are.
            unit = centred_rows(own, of_anchors) if isinstance(part, CosineSpace) else part.normalise(own, of_anchors)
            units.append(np.sqrt(np.float32(share)) * unit)
        return np.concatenate(units, axis=1)

    def describe(self) -> dict[str, Any]:
        """All parts and their shares."""
        return {
            "embedder": self.name,
            "shares": self._shares,
            "parts": [part.describe() for part in self._parts],
            "dimensions": self.dimensions,
        }
