"""Distortions on the GPU, ahead of the network: many images of one kind at once, on a stream of their own."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from glint_label.distortions import distort_batch
from glint_label.distortions.prepared import to_bytes
from glint_model.data.batches import Batch, DeferredImage
from glint_model.network.crops import CROP

IMAGES_AHEAD = 1024  # distorted together: about eight of each of 125 kinds
_SAMPLES_AT_ONCE = 600_000_000  # of float32: 1,000 images of 512 x 384


def develop(batches: list[Batch], device: torch.device) -> list[Batch]:
    """Bring batches to a device and make the images that they leave deferred, all batches' together.

    Args:
        batches: As workers made them.
        device: Where the network is. On the CPU it does the same, in float32.

    Returns:
        The batches with all crops filled; pixels are within one level of the exact ones.
    """
    ready = [_bring(batch, device) for batch in batches]
    by_size: dict[tuple[int, int], list[tuple[int, DeferredImage, Tensor]]] = {}
    for number, batch in enumerate(batches):
        photos = _unpack(batch, device)
        for deferred in batch.deferred:
            by_size.setdefault(batch.sizes[deferred.photo], []).append((number, deferred, photos[deferred.photo]))
    for (height, width), members in by_size.items():
        # Like with like: what shares its kind is made at once even if memory does not hold all.
        members.sort(key=lambda member: (member[1].distortion, member[1].level))
        at_once = max(1, _SAMPLES_AT_ONCE // (3 * height * width))
        for start in range(0, len(members), at_once):
            _develop_part(ready, members[start : start + at_once])
    return ready


def _bring(batch: Batch, device: torch.device) -> Batch:
    """Upload a batch, its crops at their places and room for the deferred ones."""
    crops = batch.crops.to(device)
    if batch.deferred:
        deferred = {each.place for each in batch.deferred}
        places = [place for place in range(batch.labels.shape[1]) if place not in deferred]
        made, crops = crops, crops.new_empty((batch.labels.shape[1], *crops.shape[1:]))
        crops[torch.tensor(places, device=device, dtype=torch.long)] = made
    return replace(batch, crops=crops, labels=batch.labels.to(device), deferred=[], photos=None, sizes=[])


def _unpack(batch: Batch, device: torch.device) -> list[Tensor]:
    """Upload a batch's photos in one piece: (3, H, W) uint8 each."""
    if batch.photos is None:
        return []
    pieces = batch.photos.to(device).split([3 * height * width for height, width in batch.sizes])
    return [piece.view(*size, 3).permute(2, 0, 1) for piece, size in zip(pieces, batch.sizes, strict=True)]


def _develop_part(ready: list[Batch], members: list[tuple[int, DeferredImage, Tensor]]) -> None:
    images = torch.stack([photo for _, _, photo in members]).float().div_(255)
    recipes = [deferred for _, deferred, _ in members]
    distorted = to_bytes(
        distort_batch(
            images,
            [recipe.distortion for recipe in recipes],
            [recipe.level for recipe in recipes],
            [recipe.seed for recipe in recipes],
        )
    )
    cuts = _cut(distorted, recipes)
    for number, batch in enumerate(ready):
        chosen = [index for index, member in enumerate(members) if member[0] == number]
        if chosen:
            places = torch.tensor([recipes[index].place for index in chosen], device=cuts.device)
            batch.crops[places] = cuts[torch.tensor(chosen, device=cuts.device)]


def _cut(images: Tensor, recipes: list[DeferredImage]) -> Tensor:
    """Cut all crops of all images with one look-up: (B, 3, H, W) -> (B, K, 3, 224, 224)."""
    height, width = images.shape[2:]
    rows, columns = [], []
    along = torch.arange(CROP)
    for recipe in recipes:
        for crop in recipe.crops:
            top, left = crop.corner(height, width, CROP)
            rows.append(top + (along.flip(0) if crop.flipped else along))
            columns.append(left + (along.flip(0) if crop.mirrored else along))
    count = len(recipes[0].crops)
    shape = (len(recipes), count, 1, CROP, 1)
    image = torch.arange(len(recipes), device=images.device).view(-1, 1, 1, 1, 1)
    channel = torch.arange(3, device=images.device).view(1, 1, 3, 1, 1)
    row = torch.stack(rows).to(images.device).view(shape)
    column = torch.stack(columns).to(images.device).view(len(recipes), count, 1, 1, CROP)
    return images[image, channel, row, column]


def develop_ahead(batches: Iterator[Batch], device: torch.device, images: int) -> Iterator[Batch]:
    """Develop batches on a GPU in a thread, while the caller trains on those before.

    Args:
        batches: As workers make them, in order.
        device: The GPU.
        images: Of a batch.

    Raises:
        GlintError: What `batches` raises.
    """
    window = max(1, IMAGES_AHEAD // images)
    done: queue.Queue[tuple[Batch, torch.cuda.Event] | BaseException | None] = queue.Queue(maxsize=2 * window)
    stop = threading.Event()

    def hand_over(item: tuple[Batch, torch.cuda.Event] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                done.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            torch.cuda.set_device(device)
            stream = torch.cuda.Stream(device)
            size = 1  # the first ones soon, then ever more at once
            with torch.cuda.stream(stream):
                while not stop.is_set() and (some := list(islice(batches, size))):
                    ready = develop(some, device)
                    event = torch.cuda.Event()
                    event.record(stream)
                    for batch in ready:
                        hand_over((batch, event))
                    size = min(2 * size, window)
            hand_over(None)
        except BaseException as error:  # noqa: BLE001 (the caller's thread raises it)
            hand_over(error)

    thread = threading.Thread(target=work, name="develop", daemon=True)
    thread.start()
    try:
        while (item := done.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            batch, event = item
            current = torch.cuda.current_stream(device)
            current.wait_event(event)
            for tensor in (batch.crops, batch.labels):
                tensor.record_stream(current)  # its memory is not the other stream's again before this one is done
            yield batch
    finally:
        stop.set()
        thread.join()
