"""Batches on their way from a worker: in memory that /dev/shm, 64 MB in most containers, does not bound."""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TENSORS = ("crops", "labels", "photos")
_ALIGNED = 8  # bytes: each tensor begins at a multiple of its samples' size


@dataclass(frozen=True)
class Packed:
    """A batch whose tensors lie end to end.

    Attributes:
        batch: The batch, without its tensors.
        memory: The bytes; or what brings the descriptor of memory that holds them into another process, once.
        places: Name, shape, type, and first byte of each tensor.
    """

    batch: Any
    memory: Any
    places: list[tuple[str, torch.Size, torch.dtype, int]]

    def unpack(self) -> Any:
        """Lay the tensors over the memory: nothing is copied."""
        memory = self.memory if isinstance(self.memory, bytearray) else _map(self.memory.detach())
        for name, shape, dtype, start in self.places:
            tensor = torch.empty(shape, dtype=dtype)
            if shape.numel():
                tensor = torch.frombuffer(memory, dtype=dtype, offset=start, count=shape.numel()).view(shape)
            setattr(self.batch, name, tensor)
        return self.batch


def pack(batch: Any) -> Any:
    """Pack a batch in a worker; what is none, an error, stays as it is."""
    tensors: dict[str, Tensor] = {name: t for name in _TENSORS if (t := getattr(batch, name, None)) is not None}
    if not tensors:
        return batch
    places, pieces, start = [], [], 0
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().reshape(-1).view(np.uint8)
        gap = np.zeros(-len(content) % _ALIGNED, dtype=np.uint8)
        places.append((name, tensor.shape, tensor.dtype, start))
        pieces += [content, gap]
        start += len(content) + len(gap)
        setattr(batch, name, None)
    try:
        memory: Any = _share(pieces)
    except (OSError, AttributeError):
        # No such memory (it is Linux's), or no temporary folder for the socket that hands it over, or one whose path
        # is too long for a socket: through the pipe then, which takes longer.
        memory = bytearray().join(piece.data for piece in pieces)
    return Packed(batch, memory, places)


def _share(pieces: Sequence[NDArray[np.uint8]]) -> Any:
    descriptor = os.memfd_create("glint-batch")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            for piece in pieces:
                file.write(piece.data)
        return DupFd(descriptor)
    finally:
        os.close(descriptor)


def _map(descriptor: int) -> mmap.mmap:
    try:
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
