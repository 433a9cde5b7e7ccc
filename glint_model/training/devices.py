"""Where training runs: the device, the processes, their precision."""

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from glint_label.engines import available_cores
from glint_label.errors import UsageError
from glint_model.training.settings import TrainConfig

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


def choose_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is a GPU, else `cpu`.

    Raises:
        UsageError: Neither of the three, or no GPU where one was asked for.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device}: must be one of auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: no CUDA GPU is available here; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def choose_workers(workers: int | None, device: str) -> int:
    """Take the number given, else what fits beside this process: all cores but one for a GPU, half on a CPU."""
    if workers is not None:
        return workers
    cores = available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(24, max(1, cores - 1)) if device == "cuda" else cores // 2


def share_cores(workers: int, fabric: Fabric) -> None:
    """Leave the workers of a CPU their cores where threads that wait for one another spin, and all become slow.

    With OMP_WAIT_POLICY=passive, which counts if it was set before torch was loaded, they sleep instead. Then the
    network keeps all cores, and what the workers take of them is only what they need.
    """
    if fabric.device.type == "cpu" and os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive":
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        cores = available_cores() // here - workers
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cores)))


def over_processes(fabric: Fabric, values: Tensor, how: str) -> Tensor:
    """Take the `sum` or the `mean` of a tensor over all processes."""
    if fabric.world_size == 1:
        return values
    reduced: Any = fabric.all_reduce(values, reduce_op=how)
    return torch.as_tensor(reduced)


def make_fabric(config: TrainConfig) -> Fabric:
    """Join the processes that torchrun started, or be the only one.

    Raises:
        UsageError: See `choose_device`.
    """
    device = choose_device(config.device)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "32"
    world, here = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    fabric = Fabric(
        accelerator=device,
        devices=here,
        num_nodes=max(1, world // here),
        strategy="ddp" if world > 1 else "auto",
        precision=PRECISIONS[precision],  # type: ignore[arg-type] # the stubs list every spelling
    )
    fabric.launch()
    return fabric
