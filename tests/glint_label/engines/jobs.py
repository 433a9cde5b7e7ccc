"""Tasks for workers, which must be able to import them."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Job:
    """What a worker is to do.

    Attributes:
        number: The result is its square.
        act: `crash`, `hang`, `raise` or `eat`; empty to behave.
        once: A file that is made when it misbehaves, after which it behaves; None to misbehave always.
        load: What it carries; a pipe holds a part of a megabyte.
    """

    number: int
    act: str = ""
    once: Path | None = None
    load: bytes = b""


def square(job: Job) -> int:
    """Do it."""
    if job.act and not (job.once is not None and job.once.exists()):
        if job.once is not None:
            job.once.touch()
        misbehave(job.act)
    return job.number**2


def misbehave(act: str) -> None:
    """Do what a broken decoder does."""
    if act == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif act == "hang":
        time.sleep(3600)
    elif act == "eat":
        hoard = []
        while True:
            hoard.append(np.empty(1 << 28, dtype=np.uint8))
    raise FileNotFoundError(act)


def number_and_load(job: Job) -> tuple[int, bytes]:
    """Give back what it carries."""
    return job.number, job.load


def has_loaded(module: str) -> bool:
    """Say whether a worker has loaded a module."""
    return module in sys.modules


def number_of_process(_: Job) -> int:
    """Say which process did it."""
    return os.getpid()
