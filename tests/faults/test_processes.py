"""Workers that die, disks that fill, folders that cannot be written: one line, and the same command ends the job."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from glint_label.build.pipeline import build
from glint_label.errors import OutputError
from tests.conftest import custom_build, file_bytes, save_photos, save_rated

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for workers in /proc")


@pytest.fixture
def config(tmp_path):
    refs = save_photos(tmp_path / "refs", [f"{number:03d}.png" for number in range(70)])
    rated = save_rated(tmp_path / "rated", 3, ["brighten"])
    return custom_build(refs, rated, tmp_path / "out", transfer="knn", k=2, images="png")


def command(config, *more: str) -> list[str]:
    words = f"build --refs {config.refs} --source custom --source-dir {config.source_dir} --out {config.out}"
    words += " --mos-range 1 5 --embedder statistics --transfer knn --k 2 --images png"
    return [sys.executable, "-m", "glint_cli.main", *words.split(), *more]


def workers_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_job_in_one_line_and_nothing_is_lost(config, tmp_path):
    build(replace(config, out=tmp_path / "whole"))
    chance = random.Random(3)
    for _ in range(2):
        process = subprocess.Popen(command(config, "--workers", "2"), stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not workers_of(process.pid):
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 6))  # while it starts, while it works
        alive = workers_of(process.pid) if process.poll() is None else []
        for worker in alive[:1]:
            os.kill(worker, signal.SIGKILL)
        _, said = process.communicate(timeout=120)
        assert "Traceback" not in said
        if process.returncode:
            assert "a worker process died" in said
    subprocess.run(command(config, "--workers", "1"), check=True, capture_output=True, timeout=300)
    assert file_bytes(config.out) == file_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_files_that_cannot_grow_are_one_line_and_the_job_goes_on_later(config, tmp_path):
    """As a full disk, where no small disk can be mounted: the system refuses what goes beyond a size."""
    build(replace(config, out=tmp_path / "whole"))
    largest = max(len(content) for content in file_bytes(tmp_path / "whole").values())

    def limit(size: int):
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    for size in (100, largest // 4, largest // 2, largest - 1):
        ended = subprocess.run(
            command(config, "--workers", "0"), preexec_fn=limit(size), capture_output=True, text=True, check=False
        )
        assert (ended.returncode, "Traceback" in ended.stderr) == (3, False), ended.stderr
        assert "cannot be written (File too large)" in ended.stderr
        assert not list(config.out.rglob("*glint-tmp*"))
    build(config)
    assert file_bytes(config.out) == file_bytes(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_is_named_and_the_job_goes_on_once_it_can(config):
    config = replace(config, images="none", limit=2)
    build(config)
    before, shard = file_bytes(config.out), config.out / "shards" / "00000"
    for path in shard.iterdir():
        path.unlink()
    if os.geteuid() == 0:  # who may write into any folder, but not where there is none
        shard.rmdir()
        shard.touch()
    else:
        shard.chmod(0o500)
    with pytest.raises(OutputError, match=r"shards/00000.*: cannot be written"):
        build(config)
    if os.geteuid() == 0:
        shard.unlink()
    else:
        shard.chmod(0o700)
    build(config)
    assert file_bytes(config.out) == before
