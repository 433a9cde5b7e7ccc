"""Run a task on every item, wherever the work is done."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from glint_label.engines.local import LocalPool
from glint_label.engines.pool import Pool
from glint_label.engines.schedule import Loss, Schedule
from glint_label.progress import MakeProgress, Progress, no_progress

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Cluster:
    """The Ray cluster of a block; connected to when work begins."""

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._address = address
        self._workers = workers
        self.is_ours = False

    def pool(self, task: Callable[[Any], Any], network: bool) -> Pool | None:
        """Make the workers of a task; None for a network where no node has a GPU."""
        from glint_label.engines.ray import RayPool, connect, has_gpu

        self.is_ours |= connect(self._address, self._workers)  # a connection that is there is used
        if network:
            return RayPool(task, None, "GPU") if has_gpu() else None
        return RayPool(task, self._workers)


_cluster: ContextVar[_Cluster | None] = ContextVar("cluster", default=None)


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
    cluster = _Cluster(address, workers)
    token = _cluster.set(cluster)
    try:
        yield
    finally:
        _cluster.reset(token)
        if cluster.is_ours:
            import ray

            ray.shutdown()


@dataclass(frozen=True)
class _Loading:
    """A task that arrives in a worker with its module loaded, before the time of a first item begins."""

    task: Callable[[Any], Any]
    module: str

    def __call__(self, item: Any) -> Any:
        return self.task(item)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, Callable[[Any], Any]]]:
        return _load, (self.module, self.task)


def _load(module: str, task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import_module(module)
    return task


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
    network: bool = False,
    loads: str = "",
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
        network: The task holds a network, which needs more than a core: it runs in this process, which has them all
            and a GPU if there is one; on a Ray cluster with GPUs, on those.
        loads: Module that the task imports when it is first called, if that takes seconds: no item's time is spent
            on that in workers.

    Raises:
        WorkerError: Workers cannot be started here, or an item was lost twice and cannot be given up.
    """
    results = _run(_Loading(task, loads) if loads else task, items, workers, limit, give_up, network)
    with closing(progress(what, total, done)) as bar, closing(results):
        yield _count(results, bar, size)


def _count(
    results: Iterable[tuple[Item, Result]], bar: Progress, size: Callable[[Item, Result], int]
) -> Iterator[tuple[Item, Result]]:
    for item, result in results:
        yield item, result
        bar.update(size(item, result))


def _pool_of(task: Callable[[Any], Any], workers: int, network: bool) -> Pool | None:
    """Make the workers of a task; None where it runs in this process."""
    cluster = _cluster.get()
    if cluster is not None and (network or workers):
        return cluster.pool(task, network)
    return LocalPool(task, workers) if workers and not network else None


def _run(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    limit: float | None,
    give_up: Callable[[Item, Loss], Result] | None,
    network: bool,
) -> Generator[tuple[Item, Result], None, None]:
    pool = _pool_of(task, workers, network)  # here, where it is closed: only once results are asked for
    if pool is None:
        for item in items:
            yield item, task(item)
        return
    with closing(pool):
        yield from Schedule(pool, items, limit, give_up).run()
