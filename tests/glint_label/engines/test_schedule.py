"""Every item gets exactly one result, whatever its workers do: workers are played here, one event at a time."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glint_label.engines.pool import Event
from glint_label.engines.schedule import Schedule
from glint_label.errors import WorkerError


class Stage:
    """Workers that live and die by a seed, and note who was at work beside whom.

    Args:
        seed: Of what happens.
        bad: Items that no worker survives.
        workers: How many there are.
        deaths: Share of the reports that are a death for no reason.
    """

    def __init__(self, seed: int, bad: set[int], workers: int, deaths: float) -> None:
        self.rng = random.Random(seed)
        self.bad = bad
        self.workers = workers
        self.deaths = deaths
        self.started = 0
        self.at: dict[int, deque[int] | None] = {}  # None: not ready yet
        self.most = 0
        self.tries: dict[int, list[int]] = {}  # item -> how many others were in work whenever it killed

    def capacity(self) -> int:
        return self.rng.randint(1, self.workers)

    def start(self) -> int:
        self.at[self.started] = None
        self.started += 1
        return self.started - 1

    def send(self, worker: int, item: int) -> None:
        self.at[worker].append(item)
        self.most = max(self.most, sum(len(items) for items in self.at.values() if items))

    def wait(self, seconds: float | None) -> list[Event]:
        worker = self.rng.choice([number for number, items in self.at.items() if items is None or items])
        items = self.at[worker]
        if items is None:
            self.at[worker] = deque()
            return [Event(worker, "ready")]
        if items[0] in self.bad:
            others = sum(len(there) for number, there in self.at.items() if there and number != worker)
            self.tries.setdefault(items[0], []).append(others + len(items) - 1)
        elif self.rng.random() >= self.deaths:
            return [Event(worker, "result", items.popleft() ** 2)]
        del self.at[worker]
        return [Event(worker, "died", "died", blameless=bool(items[0] not in self.bad))]

    def kill(self, worker: int) -> None:
        del self.at[worker]

    def close(self) -> None:
        self.at.clear()


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 60),
    bad=st.sets(st.integers(0, 59), max_size=25),
    workers=st.integers(1, 6),
    deaths=st.sampled_from([0, 0.1, 0.5]),
)
def test_every_item_has_one_result_and_bad_ones_are_tried_again_alone(seed, count, bad, workers, deaths):
    stage = Stage(seed, bad, workers, deaths)
    results = list(Schedule(stage, range(count), None, lambda item, loss: (item, loss.reason)).run())
    assert sorted(item for item, _ in results) == list(range(count))
    for item, result in results:
        assert result == ((item, "crashed") if item in bad else item**2)
    for others in stage.tries.values():
        assert len(others) == 2
        assert others[1] == 0
    assert stage.most <= 3 * workers + 2


def test_workers_find_their_next_item_when_they_have_done_one():
    class Steady(Stage):
        def capacity(self) -> int:
            return self.workers

    stage = Steady(0, set(), 3, 0)
    assert len(list(Schedule(stage, range(60), None, None).run())) == 60
    assert stage.most == 6


def test_what_cannot_be_given_up_ends_the_job():
    with pytest.raises(WorkerError, match="and again with nothing beside it"):
        list(Schedule(Stage(0, {3}, 2, 0), range(9), None, None).run())


def test_workers_that_cannot_start_are_not_started_for_ever():
    class Stillborn(Stage):
        def wait(self, seconds: float | None) -> list[Event]:
            worker = min(self.at)
            del self.at[worker]
            return [Event(worker, "died", "ended by itself")]

    with pytest.raises(WorkerError, match="cannot be started here: the last one ended by itself"):
        list(Schedule(Stillborn(0, set(), 2, 0), range(9), None, None).run())
