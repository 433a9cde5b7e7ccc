"""Rows to batches: distort the whole photo, then crop, as the labels demand.

Workers decode. Without a GPU they distort too, exactly as `glint-label render` does; with one they leave to it all but
the distortions that run on the host (glint_model/develop.py).
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glint_label.distortions import DISTORTIONS, Prepared, distort, prepare
from glint_label.engines import workers_start
from glint_label.errors import GlintError, WorkerError
from glint_label.images import read_photo
from glint_model.data.photos import Photos, Pixels
from glint_model.data.reuse import Rendered, Uses, steps_between
from glint_model.data.rows import Rows
from glint_model.data.sampler import Crop, Sampler, draw_crops
from glint_model.data.sharing import Packed, pack
from glint_model.network.crops import CROP, continued

_FIXED = 1 << 62  # samples from here on are those of validation: their crops are the same in every epoch

_DIED = (
    "a data worker died, perhaps for want of memory; the last checkpoint is kept: "
    "run the same command again, with fewer --workers"
)


@dataclass(frozen=True)
class DeferredImage:
    """An image that is yet to be distorted on the GPU.

    Attributes:
        place: Its number in the batch.
        photo: Number of its photo in the batch.
        distortion: Name.
        level: 1..5.
        seed: Of the distortion.
        crops: What to cut out of it.
    """

    place: int
    photo: int
    distortion: str
    level: int
    seed: int
    crops: list[Crop]


@dataclass
class Batch:
    """What a step, or a part of one, learns from.

    Attributes:
        crops: (B, K, 3, 224, 224) uint8; without the deferred images, in order.
        labels: (2, B) float32: the labels, and their weights, which have mean 1 over the data.
        deferred: Images whose crops are not made yet.
        photos: The decoded photos of the deferred ones, (H, W, 3) uint8 each, end to end.
        sizes: Height and width of each of these.
        seconds: Time that went into `decode` and `distort`.
    """

    crops: Tensor
    labels: Tensor
    deferred: list[DeferredImage] = field(default_factory=list)
    photos: Tensor | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "distort": 0.0})

    def inputs(self, device: torch.device) -> Any:
        """Give the crops as the network takes them, one after another: (B * K, 3, 224, 224) in [0, 1]."""
        return self.crops.to(device, non_blocking=True).flatten(0, 1).float().div_(255)


@dataclass(frozen=True)
class Recipe:
    """How rows become batches; it travels to each worker once.

    Attributes:
        rows: The rows.
        batch: Images of a whole step, over all processes and parts.
        parts: Into how many parts a step's batch is cut: processes x accumulated parts.
        group: Images of the same photo that are taken together.
        crops: Crops of an image.
        seed: Of order and crops.
        reuse: Steps that use each image, with other crops each time; see `glint_model.data.reuse`.
        pixels: fly or disk.
        defer: Leave to the GPU what it can distort.
        cache_bytes: Memory for decoded photos.
        synthetic: The photos are drawn.
        fixed: Take the rows in their own order, with the same crops each time: for validation.
    """

    rows: Rows
    batch: int
    parts: int = 1
    group: int = 1
    crops: int = 1
    seed: int = 0
    reuse: int = 1
    pixels: str = "fly"
    defer: bool = False
    cache_bytes: int = 0
    synthetic: bool = False
    fixed: bool = False


class Batches(Dataset[Any]):
    """Part p of step s, at index s * parts + p; an expected error is returned, not raised, to survive the way back."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._weights = recipe.rows.weights()
        between = steps_between(recipe.batch) * (recipe.batch // recipe.group)
        self._uses = Uses(recipe.reuse, max(1, between // recipe.reuse))
        self._sampler = Sampler(recipe.rows.photo, recipe.group, recipe.seed, self._uses.live)
        self._photos = Photos(recipe.rows, recipe.cache_bytes, recipe.synthetic)
        self._prepared: tuple[int, Prepared] | None = None
        self._rendered = Rendered()

    def __getitem__(self, index: int) -> Batch | GlintError:
        """Make one part of one step's batch."""
        try:
            return self._make(*self._chosen(index))
        except GlintError as error:
            return error

    def _chosen(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
        """Name the rows of a part, number its samples, and say which is the last use of each row."""
        recipe = self._recipe
        count = recipe.batch // recipe.parts
        if recipe.fixed:
            rows = np.arange(index * count, min((index + 1) * count, len(recipe.rows)))
            return rows, _FIXED + rows, [0] * len(rows)
        uses = range(index * count // recipe.group, (index + 1) * count // recipe.group)
        groups = [self._uses.group(use) for use in uses]
        self._rendered.begin(uses.start)
        last = [self._uses.last(group) for group in groups for _ in range(recipe.group)]
        return self._sampler.rows(groups), index * count + np.arange(count), last

    def _make(self, rows: NDArray[np.int64], samples: NDArray[np.int64], last: list[int]) -> Batch:
        recipe = self._recipe
        labels = np.stack([recipe.rows.mos[rows], self._weights[rows]])
        crops = np.empty((len(rows), recipe.crops, 3, CROP, CROP), dtype=np.uint8)
        batch = Batch(torch.from_numpy(crops), torch.from_numpy(labels))
        slots: dict[int, int] = {}
        made = 0
        for place, (row, sample, until) in enumerate(zip(rows.tolist(), samples.tolist(), last, strict=True)):
            drawn = draw_crops(recipe.seed, sample, recipe.crops, turned=not recipe.fixed)
            if self._is_deferred(row, batch):
                photo = int(recipe.rows.photo[row])
                name, level = recipe.rows.conditions[recipe.rows.condition[row]]
                slot = slots.setdefault(photo, len(slots))
                batch.deferred.append(DeferredImage(place, slot, name, level, int(recipe.rows.seed[row]), drawn))
                continue
            pixels = continued(self._again(row, until, batch) if recipe.reuse > 1 else self._pixels(row, batch))
            for target, crop in zip(crops[made], drawn, strict=True):
                target[:] = crop.cut(pixels, CROP).transpose(2, 0, 1)
            made += 1
        if slots:
            batch.crops = batch.crops[:made].clone()
            photos = [self._photos[number] for number in slots]
            batch.sizes = [(photo.shape[0], photo.shape[1]) for photo in photos]
            batch.photos = torch.from_numpy(np.concatenate([photo.reshape(-1) for photo in photos]))
        return batch

    def _is_deferred(self, row: int, batch: Batch) -> bool:
        rows = self._recipe.rows
        if not self._recipe.defer or rows.condition[row] < 0 or self._recipe.pixels == "disk":
            return False
        if DISTORTIONS[rows.conditions[rows.condition[row]][0]].on_host:
            return False
        height, width, _ = self._photo(row, batch).shape
        return bool(min(height, width) >= CROP)

    def _photo(self, row: int, batch: Batch) -> Pixels:
        started = time.perf_counter()
        photo = self._photos[int(self._recipe.rows.photo[row])]
        batch.seconds["decode"] += time.perf_counter() - started
        return photo

    def _again(self, row: int, last: int, batch: Batch) -> Pixels:
        """Find the whole image of a row, or make it and keep it for the steps that use it again."""
        pixels = self._rendered.get(row, last)
        if pixels is None:
            pixels = self._pixels(row, batch)
            self._rendered.put(row, last, pixels)
        return pixels

    def _pixels(self, row: int, batch: Batch) -> Pixels:
        """Make or read the whole image of a row."""
        rows = self._recipe.rows
        if self._recipe.pixels == "disk" and len(rows.files):
            started = time.perf_counter()
            pixels: Pixels = read_photo(rows.file(row), size=rows.size).pixels
            batch.seconds["decode"] += time.perf_counter() - started
            return pixels
        photo = self._photo(row, batch)
        if rows.condition[row] < 0:
            return photo
        started = time.perf_counter()
        number = int(rows.photo[row])
        if self._prepared is None or self._prepared[0] != number:
            self._prepared = number, prepare(photo)
        name, level = rows.conditions[rows.condition[row]]
        pixels = distort(self._prepared[1], name, level, seed=int(rows.seed[row]))
        batch.seconds["distort"] += time.perf_counter() - started
        return pixels


def iterate(recipe: Recipe, indices: Sequence[int], workers: int) -> Iterator[Batch]:
    """Make batches in the given order.

    Args:
        recipe: How.
        indices: Numbers of parts, see `Batches`.
        workers: Processes; 0 for this one. The batches do not depend on it.

    Raises:
        GlintError: A photo is missing, damaged or another one.
        WorkerError: A worker died, or none can be started here.
    """
    loader: DataLoader[Any] = DataLoader(
        Batches(recipe),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        collate_fn=pack if workers else None,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_signals_to_parent,
    )
    with workers_start() if workers else nullcontext():
        batches = iter(loader)
    for batch in batches:
        if isinstance(batch, GlintError):
            raise batch
        yield _unpacked(batch) if isinstance(batch, Packed) else batch


def _unpacked(batch: Packed) -> Batch:
    try:
        unpacked: Batch = batch.unpack()
    except (OSError, EOFError) as error:  # its worker, which holds the memory until it is taken over, is gone
        raise WorkerError(_DIED) from error
    return unpacked


@contextmanager
def worker_deaths() -> Iterator[None]:
    """Turn the death of a worker, which PyTorch raises wherever the program is, into one line."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerError(_DIED) from error


def _leave_signals_to_parent(_: int) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
