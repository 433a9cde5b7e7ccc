"""Every distorted image of a table of recipes, rendered once into one file, and training batches cut out of it.

For experiments that train many networks on the same images: 590 kB an image, on the disk or in the memory of a GPU.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from glint_label.distortions import DISTORTIONS, distort, distort_batch, prepare
from glint_label.distortions.prepared import to_bytes
from glint_label.engines import run_tasks
from glint_label.images import SEEN, read_photo
from glint_model.data.batches import Batch
from glint_model.data.rows import Rows
from glint_model.data.sampler import Crop, Sampler, draw_crops
from glint_model.network.crops import CROP, cut_crops
from glint_model.training.settings import TrainConfig

BYTES = SEEN[0] * SEEN[1] * 3
_AT_ONCE = 128  # images on the GPU


@dataclass(frozen=True)
class _Render:
    """The workers' part: some images of one photo, written to their places in the file."""

    rows: Rows
    path: Path

    def __call__(self, photo: int) -> None:
        rows = self.rows
        pixels = _read(rows, photo)
        prepared = prepare(pixels)
        images = np.memmap(self.path, np.uint8, "r+", shape=(len(rows), BYTES))
        for row in np.flatnonzero(rows.photo == photo).tolist():
            name, level = rows.conditions[rows.condition[row]]
            images[row] = distort(prepared, name, level, seed=int(rows.seed[row])).reshape(-1)


def _read(rows: Rows, photo: int) -> NDArray[np.uint8]:
    pixels = read_photo(rows.photos[photo], size=rows.size).pixels
    if sorted(pixels.shape[:2]) != sorted(SEEN):
        raise ValueError(f"{rows.photos[photo]}: is {pixels.shape[1]} x {pixels.shape[0]}, not 512 x 384")
    return pixels


def digest(rows: Rows) -> str:
    """Name the images of rows, all of them in this order."""
    recipes = hashlib.sha256(repr((rows.photos, rows.conditions, rows.size)).encode())
    for column in (rows.photo, rows.condition, rows.seed):
        recipes.update(column.tobytes())
    return recipes.hexdigest()


def _render(rows: Rows, path: Path, workers: int) -> Tensor:
    """Let workers make the images of rows: (rows, 589,824) uint8, in the file."""
    done = path.with_suffix(".done")
    if not done.is_file() or done.read_text() != digest(rows):
        with path.open("wb") as file:
            file.truncate(len(rows) * BYTES)
        photos = np.unique(rows.photo).tolist()
        with run_tasks(_Render(rows, path), photos, workers) as results:
            for _ in tqdm(results, path.name, len(photos)):
                pass
        done.write_text(digest(rows))
    return torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(len(rows), BYTES)))


class Rendered:
    """The images of some rows; on a GPU all that it can distort is made there, within one level of the exact pixels.

    Args:
        rows: Their photos are 512 x 384 or 384 x 512 once they are brought to `rows.size`.
        path: File for what workers render; one that is complete is used again.
        workers: Processes that render.
        device: Where the images are to be: in the file for a CPU, in the memory of a GPU.

    Attributes:
        rows: As given.
        path: As given.
        shapes: (photos, 2) height and width; 0 for photos that no row shows.
        images: (rows, 589,824) uint8, each (H, W, 3) end to end.
    """

    def __init__(self, rows: Rows, path: Path, workers: int, device: torch.device) -> None:
        self.rows = rows
        self.path = path
        photos = {photo: _read(rows, photo) for photo in np.unique(rows.photo).tolist()}
        self.shapes: NDArray[np.int64] = np.zeros((len(rows.photos), 2), dtype=np.int64)
        for photo, pixels in photos.items():
            self.shapes[photo] = pixels.shape[:2]
        on_host = np.array([DISTORTIONS[name].on_host for name, _ in rows.conditions])[rows.condition]
        by_workers = np.arange(len(rows)) if device.type == "cpu" else np.flatnonzero(on_host)
        rendered = _render(rows.take(by_workers), path, workers)
        if device.type == "cpu":
            self.images = rendered
            return
        self.images = torch.empty((len(rows), BYTES), dtype=torch.uint8, device=device)
        for row, image in zip(by_workers.tolist(), rendered, strict=True):
            self.images[row] = image.to(device)
        kinds = 2 * rows.condition + (self.shapes[rows.photo, 0] > self.shapes[rows.photo, 1])
        for kind in tqdm(np.unique(kinds[~on_host]), "on the GPU"):
            members = np.flatnonzero(kinds == kind)
            for start in range(0, len(members), _AT_ONCE):
                chosen = members[start : start + _AT_ONCE]
                for row, image in zip(chosen.tolist(), self._distort(photos, chosen, device), strict=True):
                    self.images[row] = image

    def _distort(
        self, photos: dict[int, NDArray[np.uint8]], chosen: NDArray[np.int64], device: torch.device
    ) -> Tensor:
        """Make images of one kind and shape on the GPU: (n, 589,824) uint8."""
        rows = self.rows
        pictures = torch.from_numpy(np.stack([photos[photo] for photo in rows.photo[chosen].tolist()])).to(device)
        name, level = rows.conditions[rows.condition[chosen[0]]]
        images = pictures.permute(0, 3, 1, 2).float() / 255
        made = to_bytes(distort_batch(images, name, level, rows.seed[chosen].tolist()))
        return made.permute(0, 2, 3, 1).reshape(len(chosen), -1)

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
        chosen = torch.stack([self.images[row] for row in rows.tolist()])
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
            chosen = sampler.rows(range(step * groups, (step + 1) * groups))
            first = step * config.batch_size
            crops = [draw_crops(config.seed, first + place, 1)[0] for place in range(len(chosen))]
            yield Batch(self.cut(among[chosen], crops)[:, None], labels[:, torch.from_numpy(chosen)])
            step += 1

    def grid(self, rows: NDArray[np.int64]) -> Tensor:
        """Cut images as `glint-label score` does: (rows, crops, 3, 224, 224) uint8, on the CPU."""
        shapes = self.shapes[self.rows.photo[rows]]
        images = [self.images[row].cpu().numpy().reshape(*shape, 3) for row, shape in zip(rows, shapes, strict=True)]
        return torch.stack([cut_crops(image, 0, 0) for image in images])
