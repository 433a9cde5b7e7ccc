"""An export is whole or not to be seen, goes on after anything, and refuses what would do harm."""

import gc
import json
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from glint_label.errors import ImageError, InputError, OutputError, StateError, UsageError
from glint_label.export import FORMATS, export_build, parquet, rows
from glint_label.export.format import Part, Sample
from glint_label.manifest import Selection
from tests.conftest import files_end_at, record_again, save_photos

ONE_PHOTO = 1e-9  # a limit so low that each photo becomes a part


def exported(out: Path) -> dict[str, bytes]:
    """Read every file that a user gets."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in (".export", ".lock", "run.json")
    }


@pytest.fixture
def small_parts(monkeypatch) -> None:
    """Make each photo a part of its own, as large photos are."""
    monkeypatch.setattr(rows, "IMAGES_A_PART", (ONE_PHOTO, ONE_PHOTO))
    monkeypatch.setattr(rows, "ROWS_A_PART", 1)


class Stop:
    """A progress bar that stops the job, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, what: str, total: int, done: int) -> "Stop":
        self.what = what
        return self

    def update(self, n: int) -> None:
        if self.what in ("rows", "images"):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    def close(self) -> None:
        pass


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["hf", "pyiqa", pytest.param("imagefolder", marks=SLOW), pytest.param("streaming", marks=SLOW)]
)
def test_stopped_it_shows_nothing_and_ends_in_the_same_bytes(built, tmp_path, small_parts, name):
    images = "png"
    export_build(built, name, tmp_path / "whole", images=images)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        export_build(built, name, out, images=images, progress=Stop(2))
    assert not exported(out)
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    report = export_build(built, name, out, images=images)
    assert report.kept == 20
    assert exported(out) == exported(tmp_path / "whole")
    assert not (out / ".export" / "unfinished").exists()
    assert export_build(built, name, out, images=images).kept == 30


@pytest.mark.parametrize(
    ("name", "images", "damage"),
    [
        ("hf", "none", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")),
        pytest.param("imagefolder", "png", lambda path: path.unlink(), marks=SLOW),
        pytest.param("webdataset", "png", lambda path: path.write_bytes(path.read_bytes()[:700]), marks=SLOW),
        ("glintiqa", "none", lambda path: path.write_text(path.read_text().replace("1", "2", 1))),
    ],
)
def test_an_export_that_has_changed_is_not_taken_for_whole(built, tmp_path, name, images, damage):
    out = tmp_path / "out"
    export_build(built, name, out, images=images)
    before = exported(out)
    for file in [name for name in before if not name.endswith(".md")][::5]:
        damage(out / file)
    assert exported(out) != before
    export_build(built, name, out, images=images)
    assert exported(out) == before


def test_killed_between_two_moves_it_goes_on(built, tmp_path):
    out = tmp_path / "out"
    export_build(built, "hf", out)
    before = exported(out)
    unfinished = out / ".export" / "unfinished"
    unfinished.mkdir()
    (out / "data").rename(unfinished / "data")
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {"status": "running"}))
    (out / ".README.md.4711.glint-tmp").write_text("half")
    export_build(built, "hf", out)
    assert exported(out) == before


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_bytes(built, config, tmp_path):
    def command(out: Path) -> list[str]:
        code = "from glint_cli.main import main; main()"
        options = ["--to", "webdataset", "--images", "png", "--workers", "2", "--out", str(out)]
        return [sys.executable, "-c", code, "export", str(built), *options]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    moments = random.Random(5)
    for _ in range(6):
        process = subprocess.Popen(command(tmp_path / "out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(1, 6))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        run = tmp_path / "out" / "run.json"
        if not run.is_file() or json.loads(run.read_text())["status"] != "complete":
            assert "README.md" not in exported(tmp_path / "out")
    subprocess.run(command(tmp_path / "out"), check=True, capture_output=True)
    assert exported(tmp_path / "out") == exported(tmp_path / "whole")


def test_a_vanished_photo_is_named_and_the_rest_is_kept(built, config, tmp_path, small_parts):
    moved = shutil.copytree(config.refs, tmp_path / "moved")
    lost = moved / "=1+1.png"
    lost.rename(tmp_path / "lost.jpg")
    out = tmp_path / "out"
    report = export_build(built, "webdataset", out, images="png", refs=moved)
    assert [name for name, _ in report.failures] == ["=1+1.png"]
    assert not exported(out)
    save_photos(moved, ["=1+1.png"], first_seed=77)
    ((_, message),) = export_build(built, "webdataset", out, images="png", refs=moved).failures
    assert message.startswith("is not the file that was labelled")
    lost.unlink()
    (tmp_path / "lost.jpg").rename(lost)
    assert export_build(built, "webdataset", out, images="png", refs=moved).kept == 20
    export_build(built, "webdataset", tmp_path / "whole", images="png")
    assert exported(out) == exported(tmp_path / "whole")


def test_filters_choose_rows(built, wanted, tmp_path):
    selection = Selection(("lens_blur",), (1, 5), ("train",), min_mos=1.5, max_mos=4.5)
    export_build(built, "pyiqa", tmp_path / "out", selection=selection)
    chosen = wanted[
        (wanted["dist_name"] == "lens_blur")
        & wanted["dist_level"].isin((1, 5))
        & (wanted["split"] == "train")
        & wanted["mos"].between(1.5, 4.5)
    ]
    assert 0 < len(chosen) < 6
    table = pd.read_csv(tmp_path / "out" / "meta_info_nr.csv")
    assert table["mos"].tolist() == chosen["mos"].tolist()
    assert "filter" in (tmp_path / "out" / "README.md").read_text()


def test_other_settings_are_refused_by_name_and_overwrite_starts_again(built, tmp_path):
    out = tmp_path / "out"
    export_build(built, "hf", out)
    with pytest.raises(StateError, match='format: "hf" -> "webdataset"'):
        export_build(built, "webdataset", out)
    with pytest.raises(StateError, match="filters"):
        export_build(built, "hf", out, selection=Selection(levels=(1,)))
    (out / "mine.txt").write_text("stays")
    export_build(built, "webdataset", out, overwrite=True)
    export_build(built, "webdataset", tmp_path / "other")
    assert exported(out) == exported(tmp_path / "other") | {"mine.txt": b"stays"}


def test_another_state_of_the_build_is_refused(built, tmp_path):
    copy = shutil.copytree(built, tmp_path / "copy")
    out = tmp_path / "out"
    export_build(copy, "hf", out)
    shard = copy / "shards" / "00000"
    (shard / "metadata.csv").write_text((shard / "metadata.csv").read_text().replace(",train\n", ",val\n", 1))
    with pytest.raises(StateError, match="has changed since it was built"):
        export_build(copy, "hf", out)
    record_again(shard)
    with pytest.raises(StateError, match="another build, or the build has changed since"):
        export_build(copy, "hf", out)


def broken(copy: Path, what: str) -> None:
    if what == "shard":
        shutil.rmtree(copy / "shards" / "00000")
    elif what == "running":
        run = json.loads((copy / "run.json").read_text())
        (copy / "run.json").write_text(json.dumps(run | {"status": "running"}))
    else:
        shard = copy / "shards" / "00000"
        text = (shard / "metadata.csv").read_text()
        (shard / "metadata.csv").write_text(text.replace("@sub/", "../"))
        (shard / "references.csv").write_text((shard / "references.csv").read_text().replace("@sub/", "../"))
        record_again(shard)


@pytest.mark.parametrize(
    ("what", "words"),
    [("shard", "_SUCCESS.json: is missing"), ("running", "has not finished"), ("escape", "leads out of the ref")],
)
def test_a_build_that_is_not_whole_or_leads_astray_is_one_line(built, tmp_path, what, words):
    copy = shutil.copytree(built, tmp_path / "copy")
    broken(copy, what)
    with pytest.raises(InputError, match=words) as caught:
        export_build(copy, "webdataset", tmp_path / "out", images="png")
    assert "\n" not in str(caught.value)
    assert not exported(tmp_path / "out")


def test_places_and_names_that_cannot_be_are_refused_before_anything_is_written(built, config, tmp_path):
    for out in (built, built / "shards" / "new", config.refs / "new", built.parent):
        with pytest.raises(UsageError, match="choose a folder"):
            export_build(built, "hf", out)
    assert not (config.refs / "new").exists()
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="unknown format; known are hf, imagefolder"):
        export_build(built, "tfrecord", out)
    with pytest.raises(UsageError, match="must be one of none, bmp"):
        export_build(built, "glintiqa", out, images="png")
    with pytest.raises(UsageError, match="must be one of png, webp"):
        export_build(built, "imagefolder", out)
    with pytest.raises(InputError, match="no row passes the filter"):
        export_build(built, "hf", out, selection=Selection(min_mos=6))
    with pytest.raises(InputError, match="no such folder"):
        export_build(built, "hf", out, images="png", refs=tmp_path / "nowhere")
    assert not out.exists()
    out.mkdir()
    (out / "photo.png").touch()
    with pytest.raises(StateError, match="holds files that no dataset export made"):
        export_build(built, "hf", out)
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == ["photo.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, partial(ImageError, "truncated")])
@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.writes_parts("png")])
def test_a_part_that_breaks_off_leaves_nothing_behind_and_nothing_is_said_later(
    wanted, tmp_path, monkeypatch, name, error
):
    def samples():
        for row in wanted.reset_index(drop=True).to_dict("records")[:3]:
            yield Sample(row, bytes(1000), 0, lambda: bytes(1000))
        raise error("a.png: ends too early")

    monkeypatch.setattr(parquet, "GROUP_BYTES", 1)
    said_when_deleted: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said_when_deleted.append)
    with suppress(KeyboardInterrupt, ImageError):  # pytest.raises would keep all objects alive
        FORMATS[name].write_part(Part("train", 0, 0, wanted, []), samples(), tmp_path)
        pytest.fail("it did not break off")
    gc.collect()
    assert not said_when_deleted
    assert not list(tmp_path.rglob("*glint-tmp*"))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".png", ".bmp"}


@pytest.mark.parametrize("name", ["hf", "pyiqa"])
def test_a_file_that_cannot_grow_is_named(built, tmp_path, name):
    with (
        pytest.raises(OutputError, match=r"(\.parquet|\.png): cannot be written \(File too large\); free some space"),
        files_end_at(10_000),
    ):
        export_build(built, name, tmp_path / "out", images="png")
    assert not exported(tmp_path / "out")


def test_two_exports_into_one_folder_keep_out_of_each_others_way(built, tmp_path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(StateError, match="another glint-label command"):
        export_build(built, "hf", tmp_path / "out")


@pytest.mark.parametrize("name", ["hf", *(pytest.param(name, marks=SLOW) for name in list(FORMATS)[1:])])
def test_a_full_disk_is_one_line_and_the_job_goes_on_later(built, tmp_path, name):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    images = FORMATS[name].images[-1]
    selection = Selection(splits=("train",))
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            export_build(built, name, disk / "out", images=images, selection=selection)
        assert not exported(disk / "out")
        assert not list((disk / "out").rglob("*glint-tmp*"))
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        export_build(built, name, disk / "out", images=images, selection=selection)
        export_build(built, name, tmp_path / "whole", images=images, selection=selection)
        assert exported(disk / "out") == exported(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)
