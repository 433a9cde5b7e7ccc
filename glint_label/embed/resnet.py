"""The paper's retrieval network: ResNet-101, ImageNet-1k weights of torchvision's first recipe, through timm.

Each photo goes in at its native size, one at a time; the 2048 globally averaged features are compared by cosine
(Wang & Zhang, arXiv 2408.03885).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glint_label.embed.clip import exact_float32
from glint_label.embed.device import PlacedNetwork, resolve_device
from glint_label.embed.embedder import CosineSpace, check_finite
from glint_label.files import sha256_of
from glint_label.weights import find_weights, put_tensors, read_tensors

MODEL = "resnet101.tv_in1k"
HUB_REPOSITORY = f"timm/{MODEL}"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class ResNetPreparation:
    """Hand the pixels on as they are: the network takes any size."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the photo itself, (H, W, 3) uint8."""
        return pixels


class ResNetEmbedder(CosineSpace):
    """ResNet-101 up to the global average pool, in float32.

    Args:
        weights: A local state dict of timm's resnet101 instead of the hub's.
        device: Torch device, or `auto`.

    Raises:
        UsageError: The device is not on this machine.
        WeightsError: The weights are not cached and the download failed, or they do not fit.
    """

    name = "resnet101"
    dimensions = 2048
    near_duplicate = 0.96  # as for CLIP

    def __init__(self, weights: Path | None, device: str) -> None:
        import timm

        resolve_device(device)  # what is wrong with it is said before weights are fetched
        self.preparation = ResNetPreparation()
        instead = "pass a local file with --resnet-weights, or use --embedder packaged, which needs none"
        self._weights = weights or find_weights("ResNet-101", HUB_REPOSITORY, instead=instead)
        network = timm.create_model(MODEL, pretrained=False, num_classes=0)
        put_tensors(network, read_tensors(self._weights, MODEL), self._weights, MODEL)
        self._placed = PlacedNetwork(network, device)
        self.runs_network = self._placed.movable

    def embed(self, inputs: Sequence[Any], paths: Sequence[Path]) -> NDArray[np.float32]:
        """Embed a shard, one photo at a time at its native size."""
        import torch

        network, device = self._placed.network, self._placed.device
        mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
        std = torch.tensor(STD, device=device).view(1, 3, 1, 1)
        vectors = np.zeros((len(paths), self.dimensions), dtype=np.float32)
        with torch.inference_mode(), exact_float32():
            for row, pixels in zip(vectors, inputs, strict=True):
                if pixels is not None:
                    image = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None] / 255
                    row[:] = network((image - mean) / std)[0].cpu().numpy()
        check_finite(vectors, paths)
        return vectors

    def describe(self) -> dict[str, Any]:
        """Network, hash of its weights and preprocessing."""
        return {
            "embedder": self.name,
            "model": MODEL,
            "weights": self._weights.name,
            "weights_sha256": sha256_of(self._weights),
            "precision": "float32",
            "preprocessing": {"size": "native", "mean": MEAN, "std": STD},
            "dimensions": self.dimensions,
        }
