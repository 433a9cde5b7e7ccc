"""A build whose photos, source and output lie in a bucket, held to the bytes of one on a disk."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import InputError, StateError, StorageError
from glint_label.files import write_atomic
from glint_label.folders import lock_folder, remove_temporaries
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.manifest.shards import read_record
from glint_label.progress import NoProgress
from tests.conftest import custom_build, file_bytes, save_photos
from tests.glint_label.storage.conftest import object_bytes, upload


@pytest.fixture
def config(refs, rated, tmp_path) -> BuildConfig:
    return custom_build(refs, rated, tmp_path / "out", transfer="knn", k=2)


class BrokenError(Exception):
    """What breaks a build off."""


class Break(NoProgress):
    def __init__(self, what: str, stage: str) -> None:
        self.here = what == stage

    def update(self, _: int) -> None:
        if self.here:
            raise BrokenError


@pytest.fixture
def stored(config, bucket) -> BuildConfig:
    """The same build, all of it in the bucket."""
    refs, rated = upload(config.refs, bucket / "photos"), upload(config.source_dir, bucket / "rated")
    return replace(config, refs=refs, source_dir=rated, out=bucket / "out")


@pytest.mark.slow
def test_broken_off_and_gone_on_with_it_makes_the_bytes_of_a_build_on_a_disk(config, stored):
    with pytest.raises(BrokenError):
        build(stored, progress=lambda what, *_: Break(what, "labels"))
    assert read_record(stored.out / "shards" / "00000") is None  # written last
    assert build(stored).counts["rows"] == 70
    build(config)
    assert object_bytes(stored.out) == file_bytes(config.out)
    run = json.loads((stored.out / "run.json").read_text())
    assert run["refs"] == str(stored.refs)
    assert summarise(stored.out)["problems"] == []
    assert read_manifest(str(stored.out)).equals(read_manifest(config.out))
    assert not (stored.out / ".lock").exists()
    assert build(stored).resumed == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["references", "labels", "pixels"])
def test_broken_off_it_goes_on_and_ends_in_the_same_bytes(config, stored, stage):
    config, stored = replace(config, images="png"), replace(stored, images="png")
    with pytest.raises(BrokenError):
        build(stored, progress=lambda what, *_: Break(what, stage))
    assert read_record(stored.out / "shards" / "00000") is None  # written last
    build(stored)
    build(config)
    assert object_bytes(stored.out) == file_bytes(config.out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metadata.csv", "embeddings.npz", "_SUCCESS.json", "pixels"])
def test_a_damaged_object_is_found_and_made_again(stored, name):
    stored = replace(stored, images="png")
    build(stored)
    before = object_bytes(stored.out)
    shard = stored.out / "shards" / "00000"
    damaged = next(shard.glob("*.png")) if name == "pixels" else shard / name
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert any(damaged.name in problem for problem in summarise(stored.out)["problems"])
    build(stored)
    assert object_bytes(stored.out) == before


def build_twice_at_once(config: BuildConfig) -> None:
    """Build, take the lock away in the middle, and let another build run from beginning to end."""

    def meet(what: str, _total: int, _done: int) -> NoProgress:
        if what == "labels":
            (config.out / ".lock").unlink()
            build(config)
        return NoProgress()

    build(config, progress=meet)


@pytest.mark.slow
def test_two_at_once_one_is_refused_and_where_none_is_both_end_in_the_same_bytes(config, stored):
    build(config)
    with lock_folder(stored.out), pytest.raises(StateError, match="is writing here"):
        build(stored)

    build_twice_at_once(stored)
    assert object_bytes(stored.out) == file_bytes(config.out)


@pytest.mark.slow
def test_where_a_file_server_passes_no_lock_on_two_builds_end_in_the_same_bytes(config, tmp_path):
    build(replace(config, out=tmp_path / "alone"))

    build_twice_at_once(config)
    assert file_bytes(config.out) == file_bytes(tmp_path / "alone")


def test_what_another_machine_is_writing_is_left_until_it_is_old(tmp_path):
    write_atomic(tmp_path / "kept", "x")
    theirs, ours, old = (tmp_path / f".metadata.csv.{name}.glint-tmp" for name in
                         ("000000-17-0123ab", "17", "000000-18-0123ab"))  # fmt: skip
    for path in (theirs, ours, old):
        path.write_text("half")
    os.utime(old, (0, 0))
    remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kept", theirs.name}


@pytest.mark.slow
def test_a_store_that_fails_ends_the_job_and_makes_no_photo_a_bad_one(config, stored, make_bucket):
    stored = replace(stored, refs=upload(config.refs, make_bucket("photos")))

    class Fail(NoProgress):
        def __init__(self, what: str) -> None:
            if what == "references":
                stored.refs._ask(lambda store, path: store.rm(path, recursive=True))

    with pytest.raises(StorageError, match="no such bucket"):
        build(stored, progress=lambda what, *_: Fail(what))
    upload(config.refs, make_bucket("photos"))
    build(config)
    build(stored)
    assert object_bytes(stored.out) == file_bytes(config.out)


def test_photos_that_are_not_there_are_said_so_in_a_line(stored, bucket):
    with pytest.raises(InputError, match=r"s3://.*/nothing: no such folder or file"):
        build(replace(stored, refs=bucket / "nothing"))
    with pytest.raises(StorageError, match="no such bucket"):
        build(replace(stored, refs="s3://nowhere/photos"))


def command(config: BuildConfig, *more: str) -> list[str]:
    options = f"--refs {config.refs} --source custom --source-dir {config.source_dir} --out {config.out}"
    fixed = "--mos-range 1 5 --embedder statistics --transfer knn --k 2"
    return [sys.executable, "-m", "glint_cli.main", "build", *options.split(), *fixed.split(), *more]


@pytest.mark.slow
def test_killed_with_its_workers_it_goes_on_at_once_and_ends_in_the_same_bytes(config, tmp_path, bucket):
    many = save_photos(tmp_path / "many", [f"{number:03d}.png" for number in range(130)])
    config = replace(config, refs=many)
    build(config)
    stored = replace(
        config,
        refs=upload(many, bucket / "many"),
        source_dir=upload(config.source_dir, bucket / "rated"),
        out=bucket / "out",
    )
    for stage in ("references", "labels"):
        process = subprocess.Popen(command(stored, "--workers", "2"), stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if line.startswith(stage):
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    last = subprocess.run(command(stored, "--workers", "2"), capture_output=True, text=True, check=True)
    assert "1,300 rows for 130 photos" in last.stdout
    assert object_bytes(stored.out) == file_bytes(config.out)
