"""What a distortion is: one row of the table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from glint_label.distortions.prepared import Prepared, stretch_
from glint_label.distortions.random import as_seeds
from glint_label.errors import UsageError

Draw = Callable[[Tensor, float, tuple[int, int]], dict[str, Tensor]]
Noise = Callable[[Tensor, tuple[int, int], torch.dtype], Tensor | Iterable[Tensor]]


@dataclass(frozen=True)
class Distortion:
    """One way to degrade an image, at a few fixed settings.

    `degrade` takes the images, the amount and, by name, what `draw` and `noise` make of the seeds.
    """

    number: int  # KADID-10k's numbering, 1..25
    name: str
    degrade: Callable[..., Tensor]
    amounts: tuple[float, ...]  # amounts[level - 1]
    unit: str
    ordered: bool = True  # False: a higher level is not always a worse image
    draw: Draw | None = None  # (seeds, amount, size) -> the few random parameters, each with one row per seed
    noise: Noise | None = None  # (seeds, size, dtype) -> random numbers for every pixel
    on_host: bool = False  # runs image by image on the CPU
    source: str = "kadid10k"  # the rated dataset whose raters saw it

    def amount(self, level: int) -> float:
        """Return the setting of a level, 1..5."""
        if isinstance(level, bool) or not isinstance(level, Integral) or not 1 <= level <= len(self.amounts):
            raise UsageError(f"{self.name} has levels 1 to {len(self.amounts)}, not {level!r}")
        return self.amounts[int(level) - 1]

    def apply(self, images: Prepared, level: int, seeds: Tensor) -> Tensor:
        """Distort prepared images and stretch the result: (B, 3, H, W) in [0, 1]; `seeds` is (B,) int64."""
        amount = self.amount(level)
        random: dict[str, Any] = self.draw(seeds.cpu(), amount, images.size) if self.draw else {}
        if self.noise:
            random["noise"] = self.noise(seeds.to(images.rgb.device), images.size, images.rgb.dtype)
        return stretch_(self.degrade(images, amount, **random))

    def parameters(self, level: int, seed: int, size: tuple[int, int]) -> dict[str, Any]:
        """Return the random parameters of a recipe, as numbers and lists; empty for one that has none.

        Args:
            level: 1..5.
            seed: As given to `distort`.
            size: Height and width of the image.
        """
        amount = self.amount(level)
        if not self.draw:
            return {}
        drawn = self.draw(as_seeds([seed]), amount, size)
        return {name: values[0].tolist() for name, values in drawn.items()}
