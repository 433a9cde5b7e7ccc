"""Run a task on every item, wherever the work is done."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from glint_label.engines.local import LocalPool
from glint_label.engines.pool import Pool
from glint_label.engines.schedule import Loss, Schedule
from glint_label.progress import MakeProgress, Progress, no_progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_make_pool: ContextVar[Callable[[Callable[[Any], Any], int], Pool]] = ContextVar("pool", default=LocalPool)


@contextmanager
def on_ray(address: str | None = None, workers: int | None = None) -> Iterator[None]:
    """Let everything in this block that would run in worker processes run on a Ray cluster.

    The results are the same. The cluster's nodes need the same versions of everything, and must see the same files. A
    cluster that was there before is left as it is; one that is started here ends with the block.

    Args:
        address: `auto`, HOST:PORT, or None to start one on this machine. A connection that the program has already
            made is used.
        workers: How many at most; None for one a core of the cluster.

    Raises:
        UsageError: Ray is not installed; raised when work begins, as is the next.
        WorkerError: There is no cluster at that address.
    """
    ours: list[bool] = []

    def make_pool(task: Callable[[Any], Any], _: int) -> Pool:
        from glint_label.engines.ray import RayPool, connect

        if not ours:
            ours.append(connect(address, workers))
        return RayPool(task, workers)

    token = _make_pool.set(make_pool)
    try:
        yield
    finally:
        _make_pool.reset(token)
        if any(ours):
            import ray

            ray.shutdown()


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
    limit: float | None = None,
    give_up: Callable[[Item, Loss], Result] | None = None,
) -> Iterator[Iterator[tuple[Item, Result]]]:
    """Run a task on every item, show how far it is, and give (item, result) as they finish.

    Few results wait at a time, so memory does not grow with the number of items. Workers end with their parent, even
    when it is killed, and when the block is left. An item whose worker dies, or takes too long, is tried once more
    with nothing beside it, after the others.

    Args:
        task: Picklable; its state travels to each worker once.
        items: Picklable, small.
        workers: Processes; 0 runs everything in this one, without limits.
        progress: Makes the progress bar.
        what: Its name.
        total: What it counts up to.
        done: Where it starts.
        size: By how much an item and its result move it on.
        limit: Seconds that an item may take; None for ever.
        give_up: Makes the result of an item that was lost twice; None: that is an error.

    Raises:
        WorkerError: Workers cannot be started here, or an item was lost twice and cannot be given up.
    """
    results = _run(task, items, workers, limit, give_up)
    with closing(progress(what, total, done)) as bar, closing(results):
        yield _count(results, bar, size)


def _count(
    results: Iterable[tuple[Item, Result]], bar: Progress, size: Callable[[Item, Result], int]
) -> Iterator[tuple[Item, Result]]:
    for item, result in results:
        yield item, result
        bar.update(size(item, result))


def _run(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    limit: float | None,
    give_up: Callable[[Item, Loss], Result] | None,
) -> Generator[tuple[Item, Result], None, None]:
    if workers == 0:
        for item in items:
            yield item, task(item)
        return
    with closing(_make_pool.get()(task, workers)) as pool:
        yield from Schedule(pool, items, limit, give_up).run()
