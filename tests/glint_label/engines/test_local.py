"""Worker processes: one that dies or hangs costs what it was at, and nothing else."""

import os
import signal
import threading
from pathlib import Path

import pytest

from glint_label.engines import Loss, available_cores, run_tasks
from glint_label.errors import WorkerError
from tests.glint_label.engines.jobs import Job, has_loaded, number_of_process, square


def results_of(jobs: list[Job], **options: object) -> dict[int, object]:
    with run_tasks(square, jobs, 2, give_up=lambda _, loss: loss, **options) as results:
        return {job.number: result for job, result in results}


def test_a_job_that_crashes_or_hangs_is_given_up_after_a_second_try_and_the_others_go_on():
    jobs = [Job(number, {4: "crash", 9: "hang"}.get(number, "")) for number in range(20)]
    found = results_of(jobs, limit=2)
    assert found.pop(4) == Loss("crashed", "the process that worked on it died, twice")
    assert found.pop(9) == Loss("timeout", "took more than 2 seconds, twice")
    assert found == {number: number**2 for number in range(20) if number not in (4, 9)}


@pytest.mark.slow
def test_a_worker_that_hangs_with_more_to_do_than_a_pipe_holds_is_noticed():
    load = bytes(2 << 20)
    jobs = [Job(number, "hang" if number == 2 else "", load=load) for number in range(12)]
    found = results_of(jobs, limit=2)
    assert found.pop(2) == Loss("timeout", "took more than 2 seconds, twice")
    assert found == {number: number**2 for number in range(12) if number != 2}


def test_what_goes_wrong_once_is_not_lost(tmp_path):
    acts = {3: "crash", 7: "hang"}
    jobs = [Job(number, acts.get(number, ""), tmp_path / f"{number}") for number in range(12)]
    assert results_of(jobs, limit=3) == {number: number**2 for number in range(12)}


@pytest.mark.parametrize("module", ["", "glint_label.distortions"])
def test_what_a_task_loads_late_is_loaded_before_its_time_begins(module):
    with run_tasks(has_loaded, ["glint_label.distortions"], 1, loads=module) as results:
        assert [found for _, found in results] == [bool(module)]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_no_more_cores_are_counted_than_the_container_is_granted(tmp_path, monkeypatch, files, cores):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("glint_label.engines.local._CONTROLS", tmp_path)
    assert available_cores() == (cores or len(os.sched_getaffinity(0)))


def test_a_killed_worker_is_replaced():
    killed = []
    with run_tasks(number_of_process, [Job(number) for number in range(40)], 2) as results:
        processes = []
        for _, process in results:
            processes.append(process)
            if len(processes) in (5, 15):
                killed.append(process)
                os.kill(process, signal.SIGKILL)
    assert len(processes) == 40
    assert len(set(processes) | set(killed)) > 2


def test_an_error_comes_back_as_it_was_raised_with_the_place_where():
    jobs = [Job(1), Job(2, "raise")]
    with pytest.raises(FileNotFoundError, match="raise") as caught, run_tasks(square, jobs, 1) as results:
        list(results)
    assert "in misbehave" in caught.value.__notes__[0]


def test_what_cannot_be_given_up_ends_the_job_in_one_line():
    with (
        pytest.raises(WorkerError, match=r"a worker was killed \(SIGSEGV\), and again with nothing beside it"),
        run_tasks(square, [Job(1), Job(2, "crash")], 2) as results,
    ):
        list(results)


def test_nothing_is_left_of_a_job_that_is_left_early():
    threads = threading.active_count()
    with run_tasks(number_of_process, [Job(number) for number in range(1000)], 2) as results:
        process = next(results)[1]
    assert not Path(f"/proc/{process}").exists()
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and "_listen" in thread.name:
            thread.join(5)
    assert threading.active_count() == threads


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="memory is limited on Linux")
def test_a_job_that_eats_memory_fails_in_its_worker():
    jobs = [Job(1), Job(2, "eat"), Job(3)]
    with pytest.raises(MemoryError), run_tasks(square, jobs, 2) as results:
        list(results)
