"""Workers of a Ray cluster: actors, each of which holds the task and takes one item after another."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glint_label import __version__
from glint_label.engines.local import available_cores, perform, prepare_worker
from glint_label.engines.pool import Event
from glint_label.errors import UsageError, WorkerError
from glint_label.provenance import codec_versions, library_versions

_PATIENCE = 600.0  # seconds in which a cluster must grant a first worker
_LOOK = 5.0  # seconds between two looks at what the cluster has


class _Worker:
    """What runs on a node of the cluster."""

    def __init__(self, task: Callable[[Any], Any], folder: str, on_a_core: bool) -> None:
        self._task = task
        self._folder = folder
        self._on_a_core = on_a_core

    def ready(self, versions: Mapping[str, Any]) -> tuple[str, str]:
        """Prepare; give the node's identity and what is wrong with it, empty where nothing is."""
        import ray

        node: str = ray.get_runtime_context().get_node_id()
        if not os.path.isdir(self._folder):  # noqa: PTH112 (it says no where this user may not look)
            return node, f"has no folder {self._folder}: use a file system that all nodes share, or s3:// addresses"
        os.chdir(self._folder)  # names in a command are relative to where it was typed
        if self._on_a_core:
            prepare_worker(available_cores())
        here = versions_here()
        other = [
            f"{name} {here.get(name, 'missing')} instead of {versions.get(name, 'none')}"
            for name in sorted(here.keys() | versions.keys())
            if here.get(name) != versions.get(name)
        ]
        return node, f"has other versions: {', '.join(other)}; install the same on all" if other else ""

    def do(self, item: Any) -> tuple[str, Any]:
        """Do an item."""
        return perform(self._task, item)


def versions_here() -> dict[str, Any]:
    """List the versions that decide what comes out, on this node."""
    return {"glint-label": __version__, **library_versions(), **codec_versions()}


def connect(address: str | None, workers: int | None) -> bool:
    """Connect to a Ray cluster, or start one on this machine that ends with this process.

    A connection that the program has already made is used as it is.

    Args:
        address: `auto`, HOST:PORT, or None to start one.
        workers: Cores of the one that is started; None for all.

    Returns:
        Whether it was started here, and is to be shut down here.

    Raises:
        UsageError: Ray is not installed.
        WorkerError: There is no cluster at that address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do by itself, without its warning
    if address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # as fast as processes of our own
    try:
        import ray
    except ImportError as error:
        raise UsageError('--engine ray needs Ray: pip install "glint-label[ray]"') from error
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with _own_sigterm():
            if address is not None:
                _look_for(address)
                ray.init(address=address, **quiet)
                return False
            ray.init(address="local", num_cpus=workers or available_cores(), include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = "cannot be started here" if address is None else f"is not to be reached at --ray-address {address}"
        raise WorkerError(f"Ray {where} ({str(error).splitlines()[0]})") from error
    return True


def has_gpu() -> bool:
    """Tell whether a node of the cluster has a GPU."""
    return _count("GPU") > 0


def _count(resource: str) -> int:
    import ray

    return int(sum(node["Resources"].get(resource, 0) for node in ray.nodes() if node["Alive"]))


def _look_for(address: str) -> None:
    """Fail at once where nothing answers; Ray would look for minutes.

    Raises:
        OSError: Nothing answers at HOST:PORT.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.removeprefix("ray://").strip("[]"), int(port)), timeout=20).close()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does in this program: Ray would have it end with exit code 15."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


class RayPool:
    """Actors of one task; see `Pool`.

    Args:
        task: Picklable; it is sent to each node once.
        workers: How many; None for one a core of the cluster, however many these are at the moment.
        resource: What each has to itself: a core ("CPU"), or a GPU.
    """

    def __init__(self, task: Callable[[Any], Any], workers: int | None, resource: str = "CPU") -> None:
        import ray

        self._ray: Any = ray
        self._count = workers
        self._started = 0
        self._task = ray.put(task)
        self._resource = resource
        # Cores are not asked for along with a GPU: those who decode for it may hold all of them.
        cpus, gpus = (1, 0) if resource == "CPU" else (0, 1)
        self._actor: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Worker)
        self._actors: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}  # of those that are ready, where they are
        self._could_be_at: dict[int, set[str]] = {}  # of each, the nodes that there were when it was begun
        self._calls: dict[Any, int] = {}  # what is awaited -> whose it is; those of one worker in order
        self._looked = (-_LOOK, 1)
        self._begun = time.monotonic()

    def capacity(self) -> int:
        """Count the cores or GPUs of the nodes that are alive, or the workers asked for if these are fewer."""
        now = time.monotonic()
        if now - self._looked[0] > _LOOK:
            there = _count(self._resource)
            self._looked = now, max(1, there if self._count is None else min(there, self._count))
        return self._looked[1]

    def start(self) -> int:
        """Ask for an actor, wherever a core is free."""
        number = self._started
        self._started += 1
        actor = self._actor.remote(self._task, str(Path.cwd()), self._resource == "CPU")
        self._actors[number] = actor
        self._could_be_at[number] = self._alive()
        self._calls[actor.ready.remote(versions_here())] = number
        return number

    def send(self, worker: int, item: Any) -> None:
        """Call an actor."""
        self._calls[self._actors[worker].do.remote(item)] = worker

    def wait(self, seconds: float | None) -> list[Event]:
        """Take what has been reported; come back at times even if nothing has, for the cluster may have changed."""
        timeout = _LOOK if seconds is None else min(seconds, _LOOK)
        end = time.monotonic() + (float("inf") if seconds is None else seconds)
        while True:
            done, _ = self._ray.wait(self._first_calls(), num_returns=1, timeout=timeout)
            if done:
                first = self._first_calls()
                done, _ = self._ray.wait(first, num_returns=len(first), timeout=0)
                return [event for call in done for event in self._read(call)]
            if not self._nodes and time.monotonic() - self._begun > _PATIENCE:
                raise WorkerError(
                    f"the Ray cluster has granted no {self._resource} in {_PATIENCE:g} seconds; see `ray status`, "
                    "then run the same command again"
                )
            if time.monotonic() >= end:
                return []

    def kill(self, worker: int) -> None:
        """End an actor at once."""
        self._calls = {call: whose for call, whose in self._calls.items() if whose != worker}
        self._nodes.pop(worker, None)
        self._could_be_at.pop(worker)
        self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """End all."""
        for worker in list(self._actors):
            self.kill(worker)

    def _first_calls(self) -> list[Any]:
        """List what each worker is at: a small result of its next call may be here before a large one of this one."""
        first: dict[int, Any] = {}
        for call, worker in self._calls.items():
            first.setdefault(worker, call)
        return list(first.values())

    def _read(self, call: Any) -> list[Event]:
        worker = self._calls.pop(call)
        errors = self._ray.exceptions
        try:
            value = self._ray.get(call)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            nodes = {self._nodes[worker]} if worker in self._nodes else self._could_be_at[worker]
            blameless = isinstance(error, errors.ObjectLostError) or not nodes <= self._alive()
            self.kill(worker)
            return [Event(worker, "died", f"of the Ray cluster died ({type(error).__name__})", blameless)]
        except errors.RayTaskError as error:
            if worker not in self._nodes:
                raise WorkerError(f"a node of the Ray cluster cannot be used ({error.cause})") from error
            return [Event(worker, "raised", error)]
        if worker in self._nodes:
            return [Event(worker, *value)]
        node, fault = value
        if fault:
            raise WorkerError(f"a node of the Ray cluster {fault}")
        self._nodes[worker] = node
        return [Event(worker, "ready")]

    def _alive(self) -> set[str]:
        return {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
