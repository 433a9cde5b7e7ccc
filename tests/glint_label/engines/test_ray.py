"""The same job on a Ray cluster: the same bytes, whatever becomes of its workers and nodes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from glint_label.audit import audit
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.engines import Loss, on_ray, run_tasks
from glint_label.errors import UsageError, WorkerError
from glint_label.export import export_build, rows
from glint_label.render import render_build
from glint_label.sources import load_source
from tests.conftest import custom_build, file_bytes, save_photos
from tests.glint_label.engines.jobs import Job, has_loaded, number_and_load, number_of_process, square
from tests.glint_label.export.test_export import exported

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two nodes of one core each on this machine."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (as Ray spells it)
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def many(tmp_path, rated):
    refs = save_photos(tmp_path / "refs", [f"{number:03d}.png" for number in range(24)])
    return custom_build(refs, rated, tmp_path / "out", transfer="gp", images="png", workers=2)


def test_a_job_crashes_hangs_or_works_as_in_processes_of_our_own(cluster):
    jobs = [Job(number, {4: "crash", 9: "hang"}.get(number, "")) for number in range(20)]
    with (
        on_ray(cluster.address),
        run_tasks(square, jobs, 2, limit=3, give_up=lambda _, loss: loss) as results,
    ):
        found = {job.number: result for job, result in results}
    assert found.pop(4) == Loss("crashed", "the process that worked on it died, twice")
    assert found.pop(9) == Loss("timeout", "took more than 3 seconds, twice")
    assert found == {number: number**2 for number in range(20) if number not in (4, 9)}


def test_every_result_is_that_of_its_item_large_or_small(cluster):
    jobs = [Job(number, load=bytes((number + 1) % 2 * (8 << 20))) for number in range(40)]
    with on_ray(cluster.address), run_tasks(number_and_load, jobs, 2) as results:
        found = {job.number: result for job, result in results}
    assert found == {job.number: (job.number, job.load) for job in jobs}


def test_what_a_task_loads_late_is_loaded_before_its_time_begins(cluster):
    with (
        on_ray(cluster.address),
        run_tasks(has_loaded, ["glint_label.rerender"], 1, loads="glint_label.rerender") as found,
    ):
        assert [loaded for _, loaded in found] == [True]


def test_a_build_is_the_same_byte_for_byte(cluster, many, tmp_path):
    local = build(many)
    with on_ray(cluster.address):
        report = build(replace(many, out=tmp_path / "ray"))
    assert report.counts == local.counts
    assert file_bytes(tmp_path / "ray") == file_bytes(many.out)


def test_render_and_audit_are_the_same(cluster, many, tmp_path):
    config = replace(many, images="none", limit=5)
    build(config)
    build(replace(config, out=tmp_path / "ray"))
    source = load_source("custom", config.source_dir, mos_range=(1, 5))
    render_build(config.out, workers=2)
    figures = audit(source, ["statistics"], ["gp"], workers=2)
    with on_ray(cluster.address):
        render_build(tmp_path / "ray", workers=2)
        on_cluster = audit(source, ["statistics"], ["gp"], workers=2)
    assert file_bytes(tmp_path / "ray") == file_bytes(config.out)
    assert on_cluster.equals(figures)


@pytest.mark.parametrize("name", ["hf", "webdataset", "pyiqa"])
def test_an_export_is_the_same_images_included(cluster, many, tmp_path, monkeypatch, name):
    config = replace(many, images="none", transfer="knn", limit=5, workers=0)
    build(config)
    monkeypatch.setattr(rows, "IMAGES_A_PART", (1, 1))  # two photos a part
    export_build(config.out, name, tmp_path / "local", images="png", workers=2)
    with on_ray(cluster.address):
        export_build(config.out, name, tmp_path / "ray", images="png", workers=2)
    found = exported(tmp_path / "ray")
    assert sum(b"IHDR" in content for content in found.values()) >= 3
    assert found == exported(tmp_path / "local")


def test_a_killed_worker_is_replaced(cluster):
    processes: list[int] = []
    with on_ray(cluster.address), run_tasks(number_of_process, [Job(number) for number in range(60)], 2) as results:
        for _, process in results:
            processes.append(process)
            if len(processes) in (5, 25):
                os.kill(process, signal.SIGKILL)
    assert len(processes) == 60
    assert len(set(processes)) > 2


def test_a_node_that_is_lost_in_the_middle_costs_nothing(cluster, many, tmp_path):
    build(many)
    third = cluster.add_node(num_cpus=1)
    counted = []

    class Watch:
        def update(self, n: int) -> None:
            counted.append(n)
            if len(counted) == 30:
                cluster.remove_node(third, allow_graceful=False)

        def close(self) -> None:
            pass

    with on_ray(cluster.address):
        build(replace(many, out=tmp_path / "ray"), progress=lambda what, total, done: Watch())
    assert len(counted) > 30
    assert file_bytes(tmp_path / "ray") == file_bytes(many.out)


@pytest.fixture
def gpu(cluster):
    """A third node, which says that it has a GPU; torch will find none there."""
    node = cluster.add_node(num_cpus=1, num_gpus=1)
    yield node
    cluster.remove_node(node)


def test_a_network_runs_where_the_gpus_are(cluster, gpu):
    jobs = [Job(number) for number in range(8)]
    with on_ray(cluster.address), run_tasks(number_of_process, jobs, 0, network=True) as results:
        processes = {process for _, process in results}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_without_gpus_a_network_stays_in_this_process(cluster):
    with on_ray(cluster.address), run_tasks(number_of_process, [Job(1)], 0, network=True) as results:
        assert [process for _, process in results] == [os.getpid()]


def test_a_build_that_embeds_on_the_gpus_is_the_same(cluster, gpu, many, tmp_path):
    import open_clip
    import torch

    weights = tmp_path / "clip.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), weights)
    config = replace(many, images="none", embedder="clip", clip_model="ViT-S-32-alt", clip_weights=weights)
    build(config)
    with on_ray(cluster.address):
        build(replace(config, out=tmp_path / "ray"))
    assert file_bytes(tmp_path / "ray") == file_bytes(config.out)


def test_a_cluster_that_was_there_before_is_left_as_it_is(cluster):
    with on_ray(cluster.address), run_tasks(square, [Job(2)], 2) as results:
        assert [result for _, result in results] == [4]
    assert ray.is_initialized()
    assert sum(node["Alive"] for node in ray.nodes()) >= 2


def test_without_ray_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UsageError, match="needs Ray: pip install"),
        on_ray(),
        run_tasks(square, [Job(2)], 2) as results,
    ):
        list(results)


def command_line(config: BuildConfig, *more: object) -> list[str]:
    words = ["--refs", config.refs, "--source=custom", "--source-dir", config.source_dir, "--limit=5"]
    line = ["build", *words, "--mos-range", 1, 5, "--embedder=statistics", "--engine=ray", *more]
    return [sys.executable, "-m", "glint_cli.main", *map(str, line)]


def command(config: BuildConfig, *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command_line(config, *more), capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_ends_with_its_line_and_its_code(many, tmp_path, number, code):
    line = command_line(many, "--transfer=gp", "--out", tmp_path / "ray")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    said = b""
    while b"references" not in said:
        said += os.read(process.stderr.fileno(), 1000)
    os.killpg(process.pid, number)  # to the workers too, as a terminal does
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == code
    assert rest.splitlines()[-1].startswith(b"Error: interrupted")


def test_a_cluster_is_started_and_ended_for_one_command(many, tmp_path):
    config = replace(many, images="none", limit=5)
    build(config)
    said = command(config, "--workers=1", "--out", tmp_path / "ray")
    assert said.returncode == 0, said.stderr
    assert "for 5 photos" in said.stdout
    assert file_bytes(tmp_path / "ray") == file_bytes(config.out)


def test_an_address_where_nothing_is_is_one_line(many, tmp_path):
    said = command(many, "--ray-address=127.0.0.1:1", "--out", tmp_path / "ray")
    assert said.returncode == 1
    assert "Error: Ray is not to be reached at --ray-address 127.0.0.1:1" in said.stderr.splitlines()[-1]
    assert "Traceback" not in said.stderr


def test_other_versions_on_a_node_are_refused(cluster, monkeypatch):
    from glint_label.engines import ray as engine

    here = engine.versions_here()
    monkeypatch.setattr(engine, "versions_here", lambda: {**here, "numpy": "0.1"})
    with (
        pytest.raises(WorkerError, match=r"has other versions: numpy .* instead of 0.1; install the same"),
        on_ray(cluster.address),
        run_tasks(square, [Job(2)], 2) as results,
    ):
        list(results)
