"""Nothing is lost whatever goes wrong: the same command goes on and ends in the same bytes."""

import json
import random
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import OutputError, StateError
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.progress import NoProgress
from tests.conftest import file_bytes, make_photo, save_photos, save_rated
from tests.glint_label.build.conftest import command


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for orphans in /proc")
def test_killed_at_random_moments_it_ends_in_the_same_bytes_and_leaves_no_orphans(config, many, tmp_path):
    config = replace(config, refs=many)
    build(replace(config, out=tmp_path / "whole"))
    moments = random.Random(7)
    workers: list[int] = []
    for _ in range(5):
        process = subprocess.Popen(
            command(config, "--workers", "2"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(timeout=moments.uniform(0.8, 3.5))
        except subprocess.TimeoutExpired:
            workers += children(process.pid)
            process.kill()
        process.communicate()
    last = subprocess.run(command(config, "--workers", "2"), capture_output=True, text=True, check=True)
    assert "1,350 rows for 135 photos" in last.stdout
    assert file_bytes(config.out) == file_bytes(tmp_path / "whole")
    assert not list(config.out.rglob("*glint-tmp*"))
    # The last run took seconds; whatever outlived its parent by that long is an orphan.
    assert not [pid for pid in workers if is_running(pid)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_the_right_code_and_one_line(config, many, number, code):
    config = replace(config, refs=many)
    process = subprocess.Popen(
        command(config, "--workers", "1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:  # the first line of progress: it is in the middle of its work
        if line.startswith(("anchors", "references")):
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert errors.strip().splitlines()[-1].startswith("Error: interrupted; what is finished is kept")
    assert "Traceback" not in errors


def test_a_finished_build_is_left_as_it_is(config):
    build(config)
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("metadata.csv")}
    assert build(config).resumed == 1
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("metadata.csv")} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": 3}, "k: 2 -> 3"),
        ({"transfer": "top1"}, 'transfer: "knn" -> "top1"'),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"images": "png"}, 'images: "none" -> "png"'),
        ({"limit": 3}, r"photos with other names \(7 then, 3 now\)"),
        ({"exclude_anchors": ("anchors/a1.png",)}, "exclude_anchors"),
    ],
)
def test_other_settings_on_the_same_folder_are_refused_with_the_difference(config, change, words):
    build(config)
    before = file_bytes(config.out)
    with pytest.raises(StateError, match=words):
        build(replace(config, **change))
    assert file_bytes(config.out) == before


def test_changed_ratings_or_photos_are_other_settings(config):
    build(config)
    with (config.source_dir / "ratings.csv").open("a") as file:
        file.write("anchors/a0.png,lens_blur,6,2,,\n")
    with pytest.raises(StateError, match="ratings_sha256"):
        build(config)


def test_changed_anchors_are_other_settings(config):
    build(config)
    Image.fromarray(make_photo(77)).save(config.source_dir / "anchors" / "a1.png")
    with pytest.raises(StateError, match="anchors_sha256"):
        build(config)


def test_photos_that_moved_go_on_and_other_photos_of_the_same_names_do_not(config, tmp_path):
    build(config)
    before = file_bytes(config.out)
    moved = config.refs.rename(tmp_path / "moved")
    (config.out / "shards" / "00000" / "metadata.csv").unlink()
    build(replace(config, refs=moved))
    assert file_bytes(config.out) == before
    assert json.loads((config.out / "run.json").read_text())["refs"] == str(moved)
    Image.fromarray(make_photo(555)).save(moved / "b.png")
    moved = moved.rename(tmp_path / "again")
    with pytest.raises(StateError, match=r"again/b\.png: is not the photo that .* was made with"):
        build(replace(config, refs=moved))


def test_killed_while_the_first_file_was_written_it_starts_again(config):
    config.out.mkdir()
    (config.out / ".run.json.4711.glint-tmp").write_text("{")
    build(config)
    assert not list(config.out.rglob("*glint-tmp*"))


def test_a_lost_shard_is_made_again(config):
    build(config)
    before = file_bytes(config.out)
    for name in ("metadata.csv", "_SUCCESS.json"):
        (config.out / "shards" / "00000" / name).unlink()
    build(config)
    assert file_bytes(config.out) == before


def test_a_full_disk_is_one_clear_error_and_the_job_goes_on_later(config, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        full = replace(config, out=disk / "out")
        with pytest.raises(OutputError, match=r"No space left on device.* run the same command again"):
            build(full)
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True, capture_output=True)
        assert build(full).counts["rows"] == 70
        build(config)
        assert file_bytes(full.out) == file_bytes(config.out)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_builds_do_not_write_into_one_folder(config):
    from filelock import FileLock

    config.out.mkdir()
    with (
        FileLock(config.out / ".lock"),
        pytest.raises(StateError, match="another glint-label command is writing"),
    ):
        build(config)


@pytest.mark.slow
def test_stopped_while_it_looks_it_goes_on_and_ends_in_the_same_bytes(seeing, tmp_path, monkeypatch):
    from glint_label.visibility import features

    build(replace(seeing, out=tmp_path / "whole"))
    measure = features.measure_features
    left = iter([True] * 4)

    def measure_some(*arguments, **options):
        if not next(left, False):
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(features, "measure_features", measure_some)
        with pytest.raises(KeyboardInterrupt):
            build(seeing)
    assert not list(seeing.out.rglob("metadata.csv"))
    build(seeing)
    assert file_bytes(seeing.out) == file_bytes(tmp_path / "whole")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> BuildConfig:
    """A build with every kind of file: pixels, features, held-out anchors, an excluded folder."""
    root = tmp_path_factory.mktemp("finished")
    refs = save_photos(root / "refs", ["a.png", "b.jpg", "c.webp"])
    (refs / "bad.png").touch()
    config = BuildConfig(
        refs=refs,
        out=root / "out",
        source="custom",
        source_dir=save_rated(root / "rated"),
        mos_range=(1, 5),
        embedder="statistics",
        exclude_anchors=("anchors/a1.png",),
        exclude_near=save_photos(root / "benchmark", ["x.png"], first_seed=900),
        images="png",
        workers=0,
    )
    build(config)
    return config


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_any_lost_or_damaged_file_is_made_again_with_the_same_bytes(finished, damage):
    before = file_bytes(finished.out)
    assert len(before) > 30
    pixels = [name for name in before if name.endswith(".png")]
    for name in [*(name for name in before if name not in pixels), pixels[0], pixels[-1]]:
        path = finished.out / name
        if damage == "deleted":
            path.unlink()
        else:
            path.write_bytes(before[name][: len(before[name]) // 2])
        build(finished)
        assert {found: content == before.get(found) for found, content in file_bytes(finished.out).items()} == (
            dict.fromkeys(before, True)
        ), name


def test_without_its_run_json_a_folder_is_nobodys_and_left_alone(config):
    build(config)
    before = file_bytes(config.out)
    (config.out / "run.json").write_text("{")
    with pytest.raises(StateError, match=r"run\.json that is damaged"):
        build(config)
    (config.out / "run.json").unlink()
    with pytest.raises(StateError, match=r"has lost its run\.json"):
        build(config)
    assert file_bytes(config.out) == before


def test_a_shard_without_a_usable_photo_is_finished_too(config, tmp_path):
    refs = save_photos(tmp_path / "late", ["z.png"])
    for number in range(64):
        (refs / f"a{number:02d}.png").touch()
    report = build(replace(config, refs=refs, images="png"))
    assert report.counts["failed"] == 64
    assert summarise(config.out)["problems"] == []
    assert len(read_manifest(config.out)) == 10


@pytest.mark.parametrize("change", [pytest.param("vanished", marks=pytest.mark.slow), "changed"])
def test_a_photo_lost_between_the_passes_is_a_row_and_the_build_goes_on(config, change):
    class Lose(NoProgress):
        def __init__(self, what: str) -> None:
            if what == "pixels" and change == "vanished":
                (config.refs / "b.png").unlink(missing_ok=True)
            elif what == "pixels":
                Image.fromarray(make_photo(321)).save(config.refs / "b.png")

    report = build(replace(config, images="png"), progress=lambda what, *_: Lose(what))
    assert report.failures == {"unreadable" if change == "vanished" else "changed": 1}
    failed = pd.read_csv(config.out / "shards" / "00000" / "failed.csv")
    assert failed["reference"].tolist() == ["b.png"]
    rows = read_manifest(config.out)
    assert "b.png" not in set(rows["reference"])
    assert len(rows) == len(list(config.out.rglob("*_[1-5].png"))) == 60
    assert summarise(config.out)["problems"] == []
