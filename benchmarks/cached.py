"""Crops of images and a frozen CNN's maps of them, computed once: to train what lies above them costs a fifth.

440 kB a crop at 224 px with EfficientNet-Lite0's maps at 1/4 to 1/32 in float16.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.rendered import BYTES, Rendered, digest
from glint_label.efficientnet import fold_batch_norms
from glint_label.engines import run_tasks
from glint_model.data.batches import Batch
from glint_model.data.sampler import Crop, Sampler
from glint_model.network.config import GlintConfig
from glint_model.network.crops import CROP
from glint_model.network.glintiqa import GlintIQA
from glint_model.training.settings import TrainConfig

_AT_ONCE = 64  # images
Shape = tuple[int, ...]


class _Kept(nn.Module):
    """Stands where the CNN was, and hands on its maps of the crops at hand."""

    maps: tuple[Tensor, ...] = ()

    def forward_intermediates(self, _: Tensor, **__: Any) -> list[Tensor]:
        return list(self.maps)


class OnMaps(GlintIQA):
    """GlintIQA without its CNN: it is given the CNN's maps beside the crops."""

    def __init__(self, config: GlintConfig) -> None:
        super().__init__(config)
        self.local_features.cnn = _Kept()

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Score crops, (B, 3, 224, 224) in [0, 1] and each of their maps, (B, C, H, W) -> (B,)."""
        crops, *maps = inputs
        self.local_features.cnn.maps = tuple(maps)
        return super().forward(crops)


@dataclass
class MapsBatch(Batch):
    """A batch of one crop an image, with the maps of the crops."""

    maps: tuple[Tensor, ...] = ()

    def inputs(self, device: torch.device) -> Any:
        """Give what `OnMaps` takes."""
        return (super().inputs(device), *(each.to(device).float() for each in self.maps))


@dataclass(frozen=True)
class Cached:
    """Crops of some images and their maps, in two files.

    Attributes:
        path: The files are `path` with .crops, (n, crops, 3, 224, 224) uint8, and with .maps, float16.
        photo: (n,) which photo each image shows.
        crops: Of each image.
        shapes: (C, H, W) of each map.
    """

    path: Path
    photo: NDArray[np.int64]
    crops: int
    shapes: tuple[Shape, ...]

    def open(self, mode: Any = "r") -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """Open the files: crops, and the maps of each end to end, (n, crops, values)."""
        n, values = len(self.photo), sum(math.prod(shape) for shape in self.shapes)
        return (
            np.memmap(self.path.with_suffix(".crops"), np.uint8, mode, shape=(n, self.crops, 3, CROP, CROP)),
            np.memmap(self.path.with_suffix(".maps"), np.float16, mode, shape=(n, self.crops, values)),
        )

    def _batch(
        self, opened: tuple[NDArray[np.uint8], NDArray[np.float16]], chosen: Any, crop: Any, labels: Tensor
    ) -> MapsBatch:
        crops, maps = (torch.from_numpy(each[chosen, crop]) for each in opened)
        parts = maps.split([math.prod(shape) for shape in self.shapes], dim=1)
        shaped = tuple(part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))
        return MapsBatch(crops[:, None], labels, maps=shaped)

    def batches(
        self, among: NDArray[np.int64], mos: NDArray[np.float32], weights: NDArray[np.float32], config: TrainConfig
    ) -> Iterator[Batch]:
        """Make batches for ever, of one crop an image; see `Rendered.batches`."""
        opened = self.open()
        sampler = Sampler(self.photo[among], config.group, config.seed)
        labels = torch.from_numpy(np.stack([mos, weights]))
        groups = config.batch_size // config.group
        step = 0
        while True:
            chosen = sampler.rows(range(step * groups, (step + 1) * groups))
            crop = np.random.default_rng((config.seed, step)).integers(self.crops, size=len(chosen))
            yield self._batch(opened, among[chosen], crop, labels[:, torch.from_numpy(chosen)])
            step += 1

    @torch.inference_mode()
    def score(self, model: OnMaps, among: NDArray[np.int64], device: torch.device) -> NDArray[np.float64]:
        """Score images by the mean of their crops: (among,)."""
        opened = self.open()
        model = model.eval().to(device)
        scores = np.zeros((len(among), self.crops))
        for start in range(0, len(among), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            for crop in range(self.crops):
                batch = self._batch(opened, among[part], crop, torch.empty(0))
                scores[part, crop] = model(batch.inputs(device)).double().cpu().numpy()
        return scores.mean(axis=1)


@dataclass(frozen=True)
class _Fill:
    """The workers' part: some images of a file, cropped and looked at by the CNN."""

    target: Cached
    config: GlintConfig
    images: Path
    total: int
    rows: NDArray[np.int64]
    sides: NDArray[np.int64]
    cuts: list[list[Crop]]

    def __call__(self, start: int) -> None:
        torch.set_num_threads(1)
        images = np.memmap(self.images, np.uint8, "r", shape=(self.total, BYTES))
        crops, maps = self.target.open("r+")
        for at in range(start, min(start + _AT_ONCE, len(self.rows))):
            pixels = images[self.rows[at]].reshape(*self.sides[at], 3)
            squares = np.stack([crop.cut(pixels, CROP).transpose(2, 0, 1) for crop in self.cuts[at]])
            crops[at] = squares
            maps[at] = _look(self.config, squares)


@lru_cache(maxsize=1)
def _cnn(config: GlintConfig) -> tuple[Any, list[int]]:
    model, _ = GlintIQA.start(config, "random", "packaged")
    cnn = model.local_features.cnn.eval()
    fold_batch_norms(cnn)
    return cnn, model.local_features.stages


@torch.inference_mode()
def _shaped(config: GlintConfig, squares: NDArray[np.uint8]) -> list[Tensor]:
    cnn, stages = _cnn(config)
    images = 2 * torch.from_numpy(squares).float().div_(255) - 1
    images = images.contiguous(memory_format=torch.channels_last)
    found: list[Tensor] = cnn.forward_intermediates(images, indices=stages, intermediates_only=True, stop_early=True)
    return found


def _look(config: GlintConfig, squares: NDArray[np.uint8]) -> NDArray[np.float16]:
    flat = torch.cat([each.flatten(1) for each in _shaped(config, squares)], dim=1)
    return flat.half().numpy()


def keep_maps(
    rendered: Rendered, rows: NDArray[np.int64], cuts: list[list[Crop]], path: Path, config: GlintConfig, workers: int
) -> Cached:
    """Cut crops out of rendered images and keep the packaged CNN's maps of them.

    Args:
        rendered: The images, in a file.
        rows: Which of them.
        cuts: What to cut out of each; equally many.
        path: Of the two files, without suffix; complete ones are used again.
        config: Of the network, all stages of whose CNN are frozen.
        workers: Processes.
    """
    shapes = tuple(tuple(each.shape[1:]) for each in _shaped(config, np.zeros((1, 3, CROP, CROP), dtype=np.uint8)))
    cached = Cached(path, rendered.rows.photo[rows], len(cuts[0]), shapes)
    made_of = hashlib.sha256(
        repr((digest(rendered.rows), config.to_dict(), cuts)).encode() + rows.tobytes()
    ).hexdigest()
    done = path.with_suffix(".maps.done")
    if not done.is_file() or done.read_text() != made_of:
        cached.open("w+")
        sides = rendered.shapes[rendered.rows.photo[rows]]
        fill = _Fill(cached, config, rendered.path, len(rendered.rows), rows, sides, cuts)
        starts = range(0, len(rows), _AT_ONCE)
        with run_tasks(fill, starts, workers) as results:
            for _ in tqdm(results, path.name, len(starts)):
                pass
        done.write_text(made_of)
    return cached
