"""Which worker does what next: bounded work in flight, time limits, a second try alone."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from glint_label.engines.pool import Event, Pool
from glint_label.errors import WorkerError

_LOG = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_STARTS = 3  # workers in turn that may die before they are ready
_SUSPECTS = 16  # items that wait for their second try at most: what belongs to them waits with them


@dataclass(frozen=True)
class Loss:
    """Why an item has no result: its worker did not survive it, twice, the second time with nothing beside it.

    Attributes:
        reason: `crashed` or `timeout`.
        message: In words, the same wherever the workers ran.
    """

    reason: str
    message: str


_CRASH = Loss("crashed", "the process that worked on it died, twice")


class Schedule(Generic[Item, Result]):
    """Items dealt to the workers of a pool.

    Args:
        pool: The workers.
        items: What is to be done.
        limit: Seconds that an item may take; None for ever.
        give_up: Makes the result of an item that was lost twice; None: that is an error.
    """

    def __init__(
        self,
        pool: Pool,
        items: Iterable[Item],
        limit: float | None,
        give_up: Callable[[Item, Loss], Result] | None,
    ) -> None:
        self._pool = pool
        self._source = iter(items)
        self._limit = limit
        self._give_up = give_up
        self._waiting: deque[Item] = deque()
        self._suspects: deque[Item] = deque()
        self._alone: Item | None = None  # the suspect that has all to itself
        self._at: dict[int, deque[Item]] = {}  # of the workers that are ready, in the order of their doing
        self._deadline: dict[int, float] = {}  # of the first of these
        self._starting: set[int] = set()
        self._failed_starts = 0

    def run(self) -> Generator[tuple[Item, Result], None, None]:
        """Give (item, result) as they finish.

        Raises:
            WorkerError: Workers cannot be started, or an item was lost that cannot be given up.
        """
        while self._plan():
            now = time.monotonic()
            seconds = min(self._deadline.values()) - now if self._deadline else None
            events = self._pool.wait(None if seconds is None else max(0.0, seconds))
            for event in events:
                yield from self._handle(event)
            if not events:  # only now: what has been reported is not late
                yield from self._end_late()

    def _plan(self) -> bool:
        """Start workers and hand out items; tell whether anything is left to be done."""
        capacity = self._pool.capacity()
        self._waiting.extend(islice(self._source, max(0, 2 * capacity + 1 - len(self._waiting))))
        flying = sum(map(len, self._at.values()))
        tested = not flying and bool(self._suspects) and (not self._waiting or len(self._suspects) >= _SUSPECTS)
        if not (self._waiting or flying or self._suspects):
            return False
        wanted = min(capacity, 1 if tested else flying + len(self._waiting))
        while len(self._at) + len(self._starting) < wanted:
            self._starting.add(self._pool.start())
        if self._alone is None and tested and self._at:
            self._alone = self._suspects.popleft()
            self._send(next(iter(self._at)), self._alone)
        elif self._alone is None and not tested and len(self._suspects) < _SUSPECTS:
            self._deal(capacity)
        return True

    def _deal(self, capacity: int) -> None:
        """Give every worker an item, then a second one that it finds when it has done the first."""
        for depth in (1, 2):
            for worker, items in self._at.items():
                # A second one only if enough are left for all, so that the last ones are not dealt unevenly.
                if self._waiting and len(items) < depth and (depth == 1 or len(self._waiting) > capacity):
                    self._send(worker, self._waiting.popleft())

    def _send(self, worker: int, item: Item) -> None:
        if not self._at[worker]:
            self._start_clock(worker)
        self._at[worker].append(item)
        self._pool.send(worker, item)

    def _start_clock(self, worker: int) -> None:
        if self._limit is not None:
            self._deadline[worker] = time.monotonic() + self._limit

    def _handle(self, event: Event) -> Generator[tuple[Item, Result], None, None]:
        worker = event.worker
        if event.kind == "ready":
            self._starting.discard(worker)
            self._failed_starts = 0
            self._at[worker] = deque()
        elif event.kind == "died":
            yield from self._bury(worker, _CRASH, event.value, event.blameless)
        elif worker in self._at:
            item = self._at[worker].popleft()
            self._deadline.pop(worker, None)
            self._alone = None  # where one is alone, this was it
            if self._at[worker]:
                self._start_clock(worker)
            if event.kind == "raised":
                raise event.value
            yield item, event.value

    def _end_late(self) -> Generator[tuple[Item, Result], None, None]:
        now = time.monotonic()
        for worker in [worker for worker, deadline in self._deadline.items() if deadline <= now]:
            self._pool.kill(worker)
            took = f"took more than {self._limit:g} seconds"
            yield from self._bury(worker, Loss("timeout", f"{took}, twice"), took, blameless=False)

    def _bury(
        self, worker: int, loss: Loss, cause: str, blameless: bool
    ) -> Generator[tuple[Item, Result], None, None]:
        """Put what a dead worker had to do where it is done again: the item it was at alone, the others as before."""
        if worker in self._starting:
            self._starting.discard(worker)
            self._failed_starts += not blameless
            if self._failed_starts >= _STARTS:
                raise WorkerError(f"worker processes cannot be started here: the last one {cause}")
        items = self._at.pop(worker, deque())
        self._deadline.pop(worker, None)
        if not items:
            return
        first = items.popleft()
        self._waiting.extendleft(reversed(items))
        alone, self._alone = self._alone is not None, None
        place = f"{first.path}: " if hasattr(first, "path") else ""
        if blameless:
            self._waiting.appendleft(first)
        elif not alone:
            _LOG.warning("%sa worker %s; what it was at is tried again at the end, alone", place, cause)
            self._suspects.append(first)
        elif self._give_up is not None:
            yield first, self._give_up(first, loss)
        else:
            raise WorkerError(f"{place}a worker {cause}, and again with nothing beside it; what is finished is kept")
