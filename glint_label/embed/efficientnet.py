"""What a photo shows, without a hub: EfficientNet-Lite0, whose ImageNet weights come from the package index.

The numbers are means and deviations of the maps at the ends of its five stages, so texture counts as well as content.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.efficientnet import (
    MEAN,
    MODEL,
    SCALE,
    WEIGHTS,
    WEIGHTS_SHA256,
    installed_weights,
    one_thread,
    stage_maps,
)
from glint_label.embed.embedder import centred_rows, check_finite, stack_rows
from glint_label.images import SEEN, bring_to_size, middle_of


class EfficientNetPreparation:
    """Turn pixels into the 1,024 numbers; runs in the worker that decoded them, which loads the network once.

    The network runs there because workers fill all cores, while the main process would do one photo after the other.
    One photo at a time, on one thread: the bits depend on nothing else.
    """

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Measure one photo.

        Args:
            pixels: (H, W, 3) uint8 RGB.

        Returns:
            (1024,) float32: the means of the 16 + 24 + 40 + 112 + 320 maps, then their deviations.
        """
        import torch

        rgb = torch.from_numpy(cut_to_size(pixels).astype(np.float32)).permute(2, 0, 1)[None]
        with torch.inference_mode(), one_thread():
            moments = [torch.var_mean(maps, dim=(1, 2), correction=0) for maps in stage_maps(rgb)]
            means = torch.cat([mean for _, mean in moments])
            deviations = torch.cat([variance for variance, _ in moments]).sqrt()
            numbers: NDArray[np.float32] = torch.cat([means, deviations]).numpy()
        return numbers


def cut_to_size(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a photo to SEEN, and keep only the middle of what is too narrow for that and too long.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """
    return middle_of(bring_to_size(pixels, SEEN), SEEN)


class EfficientNetEmbedder:
    """EfficientNet-Lite0's 1,024 numbers, compared by their cosine around the anchors' mean.

    Raises:
        WeightsError: The package with the weights is missing, or another than the tested one.
    """

    name = "efficientnet"
    dimensions = 1024
    # Of 184 photos the closest different two lie at 0.78. Copies saved as JPEG of quality 90, cropped by 10 px or
    # scaled by 0.75 lie above 0.91, mirrored ones above 0.80.
    near_duplicate = 0.85
    runs_network = False  # not in `embed`: the workers run it, one photo at a time

    def __init__(self) -> None:
        installed_weights()  # workers load them: say now what is wrong
        self.preparation = EfficientNetPreparation()

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Stack what the workers measured; a missing input gives a row of zeros."""
        vectors = stack_rows(inputs, self.dimensions)
        check_finite(vectors, paths)
        return vectors

    def normalise(self, vectors: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Subtract the anchors' mean, then scale to unit length."""
        return centred_rows(vectors, anchors)

    def describe(self) -> dict[str, Any]:
        """Network, hash of its weights and preprocessing."""
        return {
            "embedder": self.name,
            "model": MODEL,
            "weights": Path(WEIGHTS).name,
            "weights_sha256": WEIGHTS_SHA256,
            "precision": "float32",
            "preprocessing": {"size": SEEN, "mean": MEAN, "scale": SCALE},
            "dimensions": self.dimensions,
        }
