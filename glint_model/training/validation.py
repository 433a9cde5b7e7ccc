"""How well the network does on photos that it does not learn from."""

from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from glint_label.files import write_atomic
from glint_label.manifest import format_csv
from glint_label.metrics import pearson, spearman
from glint_label.names import as_text
from glint_model.data.batches import Recipe, iterate
from glint_model.network.checkpoint import size_in_words
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.devices import over_processes

_IMAGES = 32  # of a batch
FILE = "validation.csv"
COLUMNS = ("photo", "sha256", "size", "distortion", "level", "seed", "mos", "score")


class Validation:
    """Crops of the validation images, made once and kept: 150 kB each.

    Args:
        recipe: How to make them; rows, crops, pixels and seed count.
        images: At most so many, chosen by the seed.
        workers: Processes that make them.
        fabric: The device; each process scores its share.
    """

    def __init__(self, recipe: Recipe, images: int, workers: int, fabric: Fabric) -> None:
        rng = np.random.Generator(np.random.Philox(key=np.array([recipe.seed, 1], dtype=np.uint64)))
        chosen = np.sort(rng.permutation(len(recipe.rows))[:images])
        rows = recipe.rows.take(chosen)
        fixed = Recipe(
            rows,
            _IMAGES,
            crops=recipe.crops,
            seed=recipe.seed,
            pixels=recipe.pixels,
            cache_bytes=recipe.cache_bytes,
            synthetic=recipe.synthetic,
            fixed=True,
        )
        self._fabric = fabric
        self._rows = rows
        self._mos = rows.mos
        self._scores = np.full(len(rows), np.nan)
        self._parts = list(range(fabric.global_rank, -(-len(rows) // _IMAGES), fabric.world_size))
        self._crops = [batch.crops for batch in iterate(fixed, self._parts, workers)]

    def __len__(self) -> int:
        """Count the images."""
        return len(self._mos)

    @torch.no_grad()
    def measure(self, network: GlintIQA) -> tuple[float, float]:
        """Score the images: SROCC and PLCC with their labels, NaN where all scores are alike."""
        device = self._fabric.device
        training = network.training
        network.eval()
        scores = torch.zeros(len(self), device=device)
        for part, crops in zip(self._parts, self._crops, strict=True):
            scores[part * _IMAGES : part * _IMAGES + len(crops)] = self._score(network, crops.to(device))
        network.train(training)
        scores = over_processes(self._fabric, scores, "sum")
        found, wanted = scores.double().cpu().numpy(), self._mos.astype(np.float64)
        self._scores = found
        if not np.isfinite(found).all():
            return float("nan"), float("nan")
        return spearman(found, wanted), pearson(found, wanted)

    def save(self, folder: Path) -> None:
        """Write every image's recipe, or its own file, its label and its score at the last validation.

        Raises:
            OutputError: The disk is full.
        """
        rows, size = self._rows, size_in_words(self._rows.size)
        lines = []
        for number, score in enumerate(self._scores.tolist()):
            photo, condition = int(rows.photo[number]), int(rows.condition[number])
            distortion, level = rows.conditions[condition] if condition >= 0 else ("", 0)
            own_file = not rows.photos
            made_of = (
                as_text(rows.file(number) if own_file else rows.photos[photo]),
                "" if own_file else rows.sha256[photo],
                size,
                distortion,
                level,
                int(rows.seed[number]),
            )
            lines.append((*made_of, f"{rows.mos[number]:.4f}", f"{score:.6f}"))
        write_atomic(folder / FILE, format_csv(COLUMNS, lines))

    def _score(self, network: GlintIQA, crops: Tensor) -> Tensor:
        with self._fabric.autocast():
            scores: Tensor = network(crops.flatten(0, 1).float().div_(255))
        return scores.float().view(crops.shape[:2]).mean(1)
