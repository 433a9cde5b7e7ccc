"""Every distorted image of a table of recipes, rendered once into one file, and training batches cut out of it.

For experiments that train many networks on the same images: 590 kB an image, on the disk or in the memory of a GPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from glint_label.distortions import distort, prepare
from glint_label.engines import run_tasks
from glint_label.images import read_photo
from glint_model.data.batches import Batch
from glint_model.data.rows import Rows
from glint_model.data.sampler import Crop, Sampler, draw_crops
from glint_model.network.crops import CROP, cut_crops
from glint_model.training.settings import TrainConfig

SIZE = (512, 384)
BYTES = SIZE[0] * SIZE[1] * 3
_DONE = ".done"


@dataclass(frozen=True)
class _Render:
    """The workers' part: all images of one photo, written to their places in the file."""

    rows: Rows
    path: Path

    def __call__(self, photo: int) -> tuple[int, int]:
        rows = self.rows
        pixels = read_photo(rows.photos[photo], size=rows.size).pixels
        if sorted(pixels.shape[:2]) != sorted(SIZE):
            raise ValueError(f"{rows.photos[photo]}: is {pixels.shape[1]} x {pixels.shape[0]}, not 512 x 384")
        prepared = prepare(pixels)
        images = np.memmap(self.path, np.uint8, "r+", shape=(len(rows), BYTES))
        for row in np.flatnonzero(rows.photo == photo).tolist():
            condition = int(rows.condition[row])
            image = (
                pixels if condition < 0 else distort(prepared, *rows.conditions[condition], seed=int(rows.seed[row]))
            )
            images[row] = image.reshape(-1)
        height, width = pixels.shape[:2]
        return height, width


class Rendered:
    """The images of some rows.

    Args:
        rows: Their photos are 512 x 384 or 384 x 512 once they are brought to `rows.size`.
        path: The file; one that is complete is used again.
        workers: Processes that render.

    Attributes:
        rows: As given.
        shapes: (photos, 2) height and width.
        images: (rows, 589,824) uint8, each (H, W, 3) end to end.
    """

    def __init__(self, rows: Rows, path: Path, workers: int) -> None:
        self.rows = rows
        shapes = path.with_suffix(_DONE)
        if not shapes.is_file():
            with path.open("wb") as file:
                file.truncate(len(rows) * BYTES)
            found = np.zeros((len(rows.photos), 2), dtype=np.int64)
            photos = range(len(rows.photos))
            with run_tasks(_Render(rows, path), photos, workers) as results:
                for photo, shape in tqdm(results, path.name, len(photos)):
                    found[photo] = shape
            np.savetxt(shapes, found, fmt="%d")
        self.shapes: NDArray[np.int64] = np.loadtxt(shapes, dtype=np.int64, ndmin=2)
        self.images = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(len(rows), BYTES)))

    def bring(self, device: torch.device) -> None:
        """Bring the images to a GPU, whole; on a CPU they stay in their file."""
        if device.type != "cpu":
            there = torch.empty(self.images.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(there), 1000):
                there[start : start + 1000] = self.images[start : start + 1000].to(device)
            self.images = there

    def cut(self, rows: NDArray[np.int64], crops: list[Crop]) -> Tensor:
        """Cut one crop out of each of some images: (B, 3, 224, 224) uint8."""
        device = self.images.device
        along = np.arange(CROP)
        places = np.empty((len(rows), 2, CROP), dtype=np.int64)
        widths = self.shapes[self.rows.photo[rows], 1]
        for place, row, crop in zip(places, rows.tolist(), crops, strict=True):
            top, left = crop.corner(*self.shapes[self.rows.photo[row]].tolist(), CROP)
            place[0] = top + (along[::-1] if crop.flipped else along)
            place[1] = left + (along[::-1] if crop.mirrored else along)
        y, x = torch.from_numpy(places).to(device, non_blocking=True).unbind(1)
        width = torch.from_numpy(widths).to(device, non_blocking=True)
        pixel = (y[:, :, None] * width[:, None, None] + x[:, None, :]) * 3  # (B, 224, 224)
        index = pixel[:, None] + torch.arange(3, device=device)[:, None, None]  # (B, 3, 224, 224)
        chosen = self.images.index_select(0, torch.from_numpy(rows).to(device))
        return chosen.gather(1, index.flatten(1)).view(len(rows), 3, CROP, CROP)

    def batches(
        self, among: NDArray[np.int64], mos: NDArray[np.float32], weights: NDArray[np.float32], config: TrainConfig
    ) -> Iterator[Batch]:
        """Make batches for ever, in the order that `glint-label pretrain` takes.

        Args:
            among: Numbers of the rows to learn from.
            mos: Their labels.
            weights: Of these rows, with mean 1.
            config: Batch size, group, seed; one crop an image.
        """
        sampler = Sampler(self.rows.photo[among], config.group, config.seed)
        labels = torch.from_numpy(np.stack([mos, weights])).to(self.images.device)
        groups = config.batch_size // config.group
        step = 0
        while True:
            chosen = sampler.rows(step * groups, groups)
            first = step * config.batch_size
            crops = [draw_crops(config.seed, first + place, 1)[0] for place in range(len(chosen))]
            yield Batch(self.cut(among[chosen], crops)[:, None], labels[:, torch.from_numpy(chosen)])
            step += 1

    def grid(self, rows: NDArray[np.int64]) -> Tensor:
        """Cut images as `glint-label score` does: (rows, crops, 3, 224, 224) uint8, on the CPU."""
        images = self.images[torch.from_numpy(rows)].cpu().numpy()
        shapes = self.shapes[self.rows.photo[rows]]
        return torch.stack(
            [cut_crops(image.reshape(*shape, 3), 0, 0) for image, shape in zip(images, shapes, strict=True)]
        )
