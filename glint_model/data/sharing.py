"""Batches on their way from a worker: in memory that /dev/shm, 64 MB in most containers, does not bound."""

import mmap
import os
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any

import torch
from torch import Tensor

_TENSORS = ("crops", "labels", "photos")


@dataclass(frozen=True)
class Packed:
    """A batch whose tensors lie end to end in anonymous memory.

    Attributes:
        batch: The batch, without its tensors.
        memory: Brings the memory's descriptor into another process, once.
        places: Name, shape, type, and first and last byte of each tensor.
    """

    batch: Any
    memory: Any
    places: list[tuple[str, torch.Size, torch.dtype, int, int]]

    def unpack(self) -> Any:
        """Map the memory: nothing is copied."""
        descriptor = self.memory.detach()
        try:
            memory = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        for name, shape, dtype, start, end in self.places:
            tensor = torch.empty(shape, dtype=dtype)
            if end > start:
                tensor = torch.frombuffer(memory, dtype=dtype, offset=start, count=shape.numel()).view(shape)
            setattr(self.batch, name, tensor)
        return self.batch


def pack(batch: Any) -> Any:
    """Pack a batch in a worker; what is none, an error, and every system but Linux's stay as they are."""
    tensors: dict[str, Tensor] = {name: t for name in _TENSORS if (t := getattr(batch, name, None)) is not None}
    if not tensors or not hasattr(os, "memfd_create"):
        return batch
    descriptor = os.memfd_create("glint-batch")
    try:
        places, start = [], 0
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            for name, tensor in tensors.items():
                end = start + tensor.nbytes
                places.append((name, tensor.shape, tensor.dtype, start, end))
                file.write(tensor.contiguous().numpy().data)
                start = end + file.write(bytes(-end % 8))  # the next one begins at a multiple of its samples' size
                setattr(batch, name, None)
        return Packed(batch, DupFd(descriptor), places)
    finally:
        os.close(descriptor)
