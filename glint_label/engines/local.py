"""Worker processes on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from glint_label.errors import WorkerError
from glint_label.progress import MakeProgress, Progress, no_progress

Item = TypeVar("Item")
Result = TypeVar("Result")

# The task of a worker process: sent once when it starts, not with every item.
_task: Callable[[Any], Any]


def available_cores() -> int:
    """Count the processor cores that this process may use: containers and batch systems grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


@contextmanager
def run_tasks(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    progress: MakeProgress = no_progress,
    what: str = "",
    total: int = 0,
    done: int = 0,
    size: Callable[[Item, Result], int] = lambda _, __: 1,
) -> Iterator[Iterator[tuple[Item, Result]]]:
    """Run a task on every item, show how far it is, and give (item, result) as they finish.

    Few results wait at a time, so memory does not grow with the number of items. Workers end with their parent, even
    when it is killed, and when the block is left.

    Args:
        task: Picklable; its state travels to each worker once.
        items: Picklable, small.
        workers: Processes; 0 runs everything in this one.
        progress: Makes the progress bar.
        what: Its name.
        total: What it counts up to.
        done: Where it starts.
        size: By how much an item and its result move it on.

    Raises:
        WorkerError: A worker died, most likely for want of memory, or none can be started here.
    """
    with closing(progress(what, total, done)) as bar, closing(_run(task, items, workers)) as results:
        yield _count(results, bar, size)


def _count(
    results: Iterable[tuple[Item, Result]], bar: Progress, size: Callable[[Item, Result], int]
) -> Iterator[tuple[Item, Result]]:
    for item, result in results:
        yield item, result
        bar.update(size(item, result))


def _run(
    task: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    if workers == 0:
        for item in items:
            yield item, task(item)
        return
    source = iter(items)
    strangers = set(multiprocessing.active_children())
    with workers_start():
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(task,)
        )
    running: dict[Future[Result], Item] = {}
    try:
        while True:
            for item in islice(source, workers + 1 - len(running)):
                with workers_start(), _signals_held():
                    running[pool.submit(_run_task, item)] = item
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died, perhaps for want of memory; run the same command again, with fewer --workers"
        ) from error
    finally:
        # Left early, by an error or Ctrl-C: what runs is done again next time, so nobody waits for it.
        for worker in set(multiprocessing.active_children()) - strangers:
            worker.kill()
        pool.shutdown(cancel_futures=True)


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


def _start_worker(task: Callable[[Any], Any]) -> None:
    global _task  # noqa: PLW0603 (the one place where a spawned process can keep its task)
    _task = task
    # One thread a worker: the workers themselves fill the cores. What is loaded later reads the environment.
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_task(item: Any) -> Any:
    return _task(item)
