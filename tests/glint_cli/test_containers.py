"""Machines with little or no shared memory, as containers are, and their SIGTERM."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
import torch

from glint_label.doctor import diagnose
from glint_model.data.batches import Batch
from glint_model.data.sharing import Packed, pack
from tests.conftest import make_photo
from tests.glint_cli.test_commands import run
from tests.glint_model.conftest import small_config

SMALL, READ_ONLY = "size=1m", "ro"


def contained(options: str, *command: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program where /dev/shm is another one than this machine's; skip where that is not allowed."""
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o {options} tmpfs /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*inside, mount], capture_output=True, check=False).returncode:
        pytest.skip("cannot mount another /dev/shm here")
    words = [*inside, f'{mount} && exec "$@"', "sh", sys.executable, *map(str, command)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, env=one_thread, timeout=120, check=False)
    assert result.returncode == code, result.stderr
    return result


@pytest.mark.slow
def test_training_takes_no_more_shared_memory_than_there_is(tmp_path):
    settings = tmp_path / "small.yaml"
    settings.write_text(small_config(steps=2, batch_size=8, crops=4, val_images=2, workers=1).to_yaml())
    arguments = ["pretrain", "--synthetic", "--config", settings, "--out", tmp_path / "run"]
    assert "2 of 2 steps" in contained(SMALL, "-m", "glint_cli.main", *arguments).stdout


@pytest.mark.slow
def test_training_needs_no_short_temporary_folder(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)  # longer than the path of a socket may be
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    settings = tmp_path / "small.yaml"
    settings.write_text(small_config(steps=1, val_images=2, workers=1).to_yaml())
    assert "1 of 1 steps" in run("pretrain", "--synthetic", "--config", settings, "--out", tmp_path / "run").stdout


@pytest.mark.slow
def test_where_training_can_start_no_worker_one_line_says_what_to_do(tmp_path):
    settings = tmp_path / "small.yaml"
    settings.write_text(small_config(steps=1, workers=1).to_yaml())
    arguments = ["pretrain", "--synthetic", "--config", settings, "--out", tmp_path / "run"]
    lines = contained(READ_ONLY, "-m", "glint_cli.main", *arguments, code=1).stderr.splitlines()
    assert "worker processes cannot be started here (Read-only file system)" in lines[-1]
    assert "use --workers 0" in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.slow
def test_a_build_needs_no_shared_memory(tmp_path, refs, rated):
    words = ["--refs", refs, "--source=custom", "--source-dir", rated, "--embedder=statistics", "--workers=1"]
    said = contained(READ_ONLY, "-m", "glint_cli.main", "build", *words, "--transfer=top1", "--out", tmp_path / "out")
    assert "70 rows for 7 photos" in said.stdout


def test_doctor_tells_how_much_shared_memory_there_is():
    code = "from glint_label.doctor import diagnose, _workers; print(_workers())"
    assert "1 MB of shared memory" in contained(SMALL, "-c", code).stdout
    refused = contained(READ_ONLY, "-c", code).stdout
    assert "state='problem'" in refused
    assert "--workers 0" in refused
    assert any(finding.topic == "workers" for finding in diagnose())


@pytest.mark.parametrize("shared", [True, False])
def test_a_packed_batch_comes_out_as_it_went_in(shared, monkeypatch):
    if not shared:
        monkeypatch.delattr(os, "memfd_create")
    photo = torch.from_numpy(make_photo(3))
    batch = Batch(torch.zeros((0, 2, 3, 224, 224), dtype=torch.uint8), torch.rand(2, 5), photos=photo.reshape(-1))
    labels = batch.labels.clone()
    packed = pack(batch)
    assert isinstance(packed, Packed)
    assert isinstance(packed.memory, bytearray) != shared
    unpacked = packed.unpack()
    assert torch.equal(unpacked.labels, labels)
    assert torch.equal(unpacked.photos, photo.reshape(-1))
    assert unpacked.crops.shape == (0, 2, 3, 224, 224)


STUCK = """
import multiprocessing, os, signal, sys, time
from glint_cli.interrupt import end_in_time
def wait():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(60)
if __name__ == "__main__":
    end_in_time(0.2)
    signal.signal(signal.SIGTERM, lambda *_: None)
    worker = multiprocessing.get_context("spawn").Process(target=wait)
    worker.start()
    print("waiting", flush=True)
    if sys.argv[1] == "closed": os.close(2)
    worker.join()
"""


@pytest.mark.parametrize("stderr", ["open", "closed"])
def test_sigterm_ends_a_program_that_waits_for_ever_and_its_workers(tmp_path, stderr):
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    command = [sys.executable, script, stderr]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "waiting\n"
        process.terminate()
        _, said = process.communicate(timeout=10)  # its worker holds the other end as well
    assert process.returncode == 128 + signal.SIGTERM
    assert said.startswith("Error: interrupted, and ended by force") == (stderr == "open")
