"""Worker processes on this machine, each on a pipe of its own: what happens to one is nothing to the others."""

import math
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from threadpoolctl import threadpool_limits

from glint_label.engines.pool import Event
from glint_label.errors import WorkerError

_Outbox = SimpleQueue[memoryview | None]  # what a worker is to be sent, pickled; None at the end

_CONTROLS = Path("/sys/fs/cgroup")  # what a Linux container may use: here, or with cgroup 1 in folders below it
_LEAST_MEMORY = 4 << 30  # bytes that a worker may take even where the machine has less for each


def available_cores() -> int:
    """Count the processor cores that this process may use: containers and batch systems grant fewer than there are."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(granted, _container_cores())))


def _container_cores() -> float:
    """Read how much processor time this container is granted, seconds a second; infinite where it is not bounded."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            quota, period = " ".join(_CONTROLS.joinpath(name).read_text(encoding="ascii") for name in names).split()
            return float(quota) / float(period) if float(quota) > 0 else math.inf
    return math.inf


@contextmanager
def workers_start() -> Iterator[None]:
    """Turn the system's refusal of what worker processes need into one line.

    Raises:
        WorkerError: /dev/shm, where their semaphores lie, is missing, read-only or full; or no process is granted.
    """
    try:
        multiprocessing.get_context("spawn").Lock()  # before anybody makes half of a pool, and trips over its remains
        yield
    except OSError as error:
        raise WorkerError(
            f"worker processes cannot be started here ({error.strerror or error}): they need a /dev/shm that can be "
            "written to; mount one, or use --workers 0"
        ) from error


class LocalPool:
    """Worker processes of one task; see `Pool`.

    Args:
        task: Picklable; each worker has a copy.
        workers: How many.

    Raises:
        WorkerError: No process is granted.
    """

    def __init__(self, task: Callable[[Any], Any], workers: int) -> None:
        self._task = task
        self._count = workers
        self._started = 0
        self._workers: dict[int, tuple[SpawnProcess, _Outbox]] = {}
        self._events: SimpleQueue[Event] = SimpleQueue()

    def capacity(self) -> int:
        """Count the workers that were asked for."""
        return self._count

    def start(self) -> int:
        """Begin a process."""
        context = multiprocessing.get_context("spawn")
        number = self._started
        self._started += 1
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._task, self._count), daemon=True)
        try:
            with _signals_held():
                process.start()
        except OSError as error:
            raise WorkerError(
                f"worker processes cannot be started here ({error.strerror or error}); use fewer --workers, or 0"
            ) from error
        theirs.close()  # or the end of the process would not be the end of the pipe
        outbox: _Outbox = SimpleQueue()
        self._workers[number] = process, outbox
        sender = threading.Thread(target=_send, args=(outbox, ours), daemon=True)
        sender.start()
        threading.Thread(target=self._listen, args=(number, process, ours, outbox, sender), daemon=True).start()
        return number

    def send(self, worker: int, item: Any) -> None:
        """Let an item be put into the worker's pipe, which does not hold a large one before the worker reads it."""
        self._workers[worker][1].put(ForkingPickler.dumps(item))

    def wait(self, seconds: float | None) -> list[Event]:
        """Take what has been reported."""
        events = []
        try:
            events.append(self._events.get(timeout=seconds))
            while True:
                events.append(self._events.get_nowait())
        except Empty:
            pass
        return [event for event in events if event.worker in self._workers]

    def kill(self, worker: int) -> None:
        """End a process at once."""
        process, _ = self._workers.pop(worker)
        process.kill()
        process.join()

    def close(self) -> None:
        """End all: what runs is done again next time, so nobody waits for it."""
        for worker in list(self._workers):
            self.kill(worker)

    def _listen(
        self, number: int, process: SpawnProcess, pipe: Connection, outbox: _Outbox, sender: threading.Thread
    ) -> None:
        """Read a worker's pipe, so that it never waits while this process is busy; then say what it died of."""
        try:
            while True:
                kind, value = pipe.recv()
                self._events.put(Event(number, kind, value))
        except (EOFError, OSError):
            process.join()
        outbox.put(None)
        sender.join()  # it must not write to what the pipe's descriptor is next
        pipe.close()
        self._events.put(Event(number, "died", _cause_of(process.exitcode)))


def _send(outbox: _Outbox, pipe: Connection) -> None:
    """Write to a worker's pipe, which may wait until the worker has done what it is at."""
    with suppress(OSError):  # the worker has died, and that is reported
        while (content := outbox.get()) is not None:
            pipe.send_bytes(content)


def _cause_of(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"ended by itself (exit code {exitcode})"
    name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
    return f"was killed ({name})" + (", perhaps for want of memory" if -exitcode == signal.SIGKILL else "")


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while workers start: half started, they would die with a traceback.

    The workers inherit this, so a Ctrl-C that the terminal sends to all of them is the parent's alone to handle.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_worker(workers: int) -> None:
    """Make this process a worker: one thread, and no more memory than its share of the machine.

    Args:
        workers: How many share this machine.
    """
    # One thread a worker: the workers themselves fill the cores. What is loaded later reads the environment.
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)
    _limit_memory(workers)


def perform(task: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    """Do an item: ("result", it) or ("raised", the exception), which carries its traceback as a note."""
    try:
        return "result", task(item)
    except Exception as error:  # noqa: BLE001 (all of them are raised again, in the process that gave the item)
        error.add_note("".join(traceback.format_exception(error)))
        return "raised", error


def _work(pipe: Connection, task: Callable[[Any], Any], workers: int) -> None:
    """Be a worker until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_worker(workers)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with pipe, suppress(EOFError, OSError):
        pipe.send(("ready", None))
        while True:
            outcome = perform(task, pipe.recv())
            try:
                content = ForkingPickler.dumps(outcome)
            except (TypeError, AttributeError, ValueError) as error:
                content = ForkingPickler.dumps(("raised", TypeError(f"cannot be sent: {outcome[1]!r} ({error})")))
            pipe.send_bytes(content)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_memory(workers: int) -> None:
    """Let a photo that would fill the machine fail in its worker, before the system kills whatever it likes."""
    try:
        import resource

        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, ValueError, OSError):
        return
    share = max(_LEAST_MEMORY, min(pages, _container_memory()) // max(1, workers))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (share if hard < 0 else min(share, hard), hard))


def _container_memory() -> int:
    """Read what this container may use, bytes; more than any machine has where it is not bounded."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            return int(_CONTROLS.joinpath(name).read_text(encoding="ascii"))
    return 1 << 60
