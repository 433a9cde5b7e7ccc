"""Any file of a build, lost or damaged in any way: found, told, and made again with the same bytes."""

import json
import os
import random
from pathlib import Path

import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import InputError, StateError, UsageError
from glint_label.manifest import reference_id
from glint_label.manifest.inspect import summarise
from tests.conftest import custom_build, file_bytes, make_photo, save_photos, save_rated
from tests.glint_cli.test_commands import run

REPAIR = "run the same build command with --repair"


def make(root: Path, transfer: str) -> BuildConfig:
    """A build with every kind of file: pixels, a failure, held-out anchors, an excluded folder."""
    refs = save_photos(root / "refs", ["a.png", "b.jpg", "c.webp"])
    (refs / "bad.png").touch()
    config = custom_build(
        refs,
        save_rated(root / "rated"),
        root / "out",
        transfer=transfer,
        exclude_anchors=("anchors/a1.png",),
        exclude_near=save_photos(root / "benchmark", ["x.png"], first_seed=900),
        images="png",
    )
    build(config)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> BuildConfig:
    return make(tmp_path_factory.mktemp("finished"), "knn")


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def write_back(path: Path, content: bytes) -> None:
    """Change a file and leave its times as they were."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def one_of_each(files: dict[str, bytes]) -> list[str]:
    """Name every file but the pixels, and two of these."""
    pixels = [name for name in files if name.endswith(".png")]
    return [*(name for name in files if name not in pixels), pixels[0], pixels[-1]]


def slow(*values: object) -> list[object]:
    """Leave some cases to the slow tests."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("damage", ["flipped", *slow("deleted", "cut")])
def test_repair_tells_what_was_damaged_and_makes_only_that_again(finished, damage):
    before = file_bytes(finished.out)
    times = {name: (finished.out / name).stat().st_mtime_ns for name in before}
    chosen = [name for name in one_of_each(before) if not name.endswith("_SUCCESS.json")]  # that is its own test
    for name in chosen:
        content = before[name]
        if damage == "deleted":
            (finished.out / name).unlink()
        else:
            changed = content[: len(content) // 2] if damage == "cut" else flip(content, len(content) // 2)
            write_back(finished.out / name, changed)
    found = summarise(finished.out)["problems"]
    assert all(problem.endswith(REPAIR) or "rows in the shards" in problem for problem in found)
    state = "is missing" if damage == "deleted" else "has changed since it was built"
    assert build(finished, repair=True).damaged == tuple(f"{name}: {state}" for name in sorted(chosen))
    assert file_bytes(finished.out) == before
    assert summarise(finished.out)["problems"] == []
    untouched = [name for name in before if name.endswith(".png") and name not in chosen]
    assert all((finished.out / name).stat().st_mtime_ns == times[name] for name in untouched)
    assert build(finished, repair=True).damaged == ()


def test_inspect_finds_every_damaged_file_but_the_inside_of_pixels(finished):
    before = file_bytes(finished.out) | {"run.json": (finished.out / "run.json").read_bytes()}
    for name, content in before.items():
        if name.endswith((".png", "_SUCCESS.json")):  # hashes of pixels in the record say nothing to who reads none
            continue
        for place in (len(content) // 3, len(content) // 2):
            write_back(finished.out / name, flip(content, place))
            try:
                problems = summarise(finished.out)["problems"]
            except InputError as error:
                problems = [str(error)]
            assert any(name in problem for problem in problems), name
        write_back(finished.out / name, content)
    assert summarise(finished.out)["problems"] == []


@pytest.mark.parametrize("key", ["rows", "a hash", *slow("config_sha256", "references", "abstained", "failed", "{")])
def test_a_damaged_record_is_found_and_written_again(finished, key):
    before = file_bytes(finished.out)
    path = finished.out / "shards" / "00000" / "_SUCCESS.json"
    record = json.loads(path.read_text())
    if key == "config_sha256":
        record[key] = "0" * 64
    elif key == "a hash":
        record["files"]["metadata.csv"]["sha256"] = "0" * 64
    elif key != "{":
        record[key] += 1
    path.write_text("{" if key == "{" else json.dumps(record))
    assert any("shards/00000" in problem for problem in summarise(finished.out)["problems"])
    assert len(build(finished, repair=True).damaged) == 1
    assert file_bytes(finished.out) == before


def test_pixels_that_nothing_vouches_for_any_more_are_made_again(finished):
    before = file_bytes(finished.out)
    pixel = next(path for path in sorted(finished.out.rglob("*_1.png")))
    pixel.write_bytes(flip(pixel.read_bytes(), 300))
    (pixel.parent / "_SUCCESS.json").unlink()
    build(finished, repair=True)
    assert file_bytes(finished.out) == before


@pytest.mark.parametrize("how", ["deleted", *slow("{", '{"kind": "build"}', "an edited setting")])
def test_a_lost_run_json_is_written_again_where_the_shards_are_of_this_build(finished, how):
    before, path = file_bytes(finished.out), finished.out / "run.json"
    if how == "deleted":
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 1') if how == "an edited setting" else how)
    with pytest.raises(StateError, match=r"run\.json"):
        build(finished)
    assert build(finished, repair=True).damaged[0].startswith("run.json: ")
    assert file_bytes(finished.out) == before
    assert summarise(finished.out)["problems"] == []


@pytest.mark.parametrize("name", ["anchors/embeddings.npz", *slow("watched/shards/00000/embeddings.npz")])
def test_what_a_lost_run_json_vouched_for_is_made_again(finished, name):
    before, path = file_bytes(finished.out), finished.out / name
    write_back(path, flip(before[name], before[name].rindex(b"PK\x01\x02") + 12))  # a date, which nobody reads
    (finished.out / "run.json").unlink()
    build(finished, repair=True)
    assert file_bytes(finished.out) == before


def test_repair_leaves_alone_what_is_not_this_build(finished, tmp_path):
    rated = save_rated(tmp_path / "rated", 2)
    other = custom_build(finished.refs, rated, tmp_path / "out", transfer="knn")
    with pytest.raises(StateError, match="holds no build, so there is nothing to repair"):
        build(other, repair=True)
    build(other)
    (other.out / "run.json").unlink()
    changed = custom_build(finished.refs, rated, tmp_path / "out", transfer="top1")
    with pytest.raises(StateError, match=r"has lost its run\.json"):
        build(changed, repair=True)
    (other.out / "thesis.tex").touch()
    with pytest.raises(StateError, match=r"has lost its run\.json"):
        build(other, repair=True)
    with pytest.raises(UsageError, match="--repair and --overwrite"):
        build(other, repair=True, overwrite=True)


def test_the_command_says_what_it_repaired(finished):
    words = "--source custom --mos-range 1 5 --embedder statistics --transfer knn --workers 0 --images png --repair"
    folders = {"refs": finished.refs, "source-dir": finished.source_dir, "exclude-near": finished.exclude_near}
    options = [*words.split(), "--exclude-anchors", "anchors/a1.png", "--out", finished.out]
    options += [part for name, folder in folders.items() for part in (f"--{name}", folder)]
    pixel = min(finished.out.rglob("*_1.png"))
    pixel.write_bytes(flip(pixel.read_bytes(), 300))
    printed = run("build", *options).stdout
    place = pixel.relative_to(finished.out)
    assert f"Made again, as 1 file had been damaged:\n  {place}: has changed since it was built\n" in printed
    assert "Every file is as it was written" in run("build", *options).stdout


@pytest.mark.parametrize("clock", [0, *slow(1, -86_400 * 10**9, 4 * 10**18)])  # ns: 1970, before it, 2096
def test_no_clock_hides_damage_or_makes_work(finished, clock):
    """Times are never compared: a copy, a restored backup and a clock that jumped change nothing."""
    before = file_bytes(finished.out)
    shard = finished.out / "shards" / "00000"
    for name in before:
        os.utime(finished.out / name, ns=(clock, clock))
    assert build(finished).resumed == 1
    assert {(finished.out / name).stat().st_mtime_ns for name in before} == {clock}
    write_back(shard / "metadata.csv", flip(before["shards/00000/metadata.csv"], 900))
    build(finished)
    assert file_bytes(finished.out) == before


def test_a_failure_that_is_lost_before_the_shard_was_finished_does_not_lose_the_photo(finished):
    before, shard = file_bytes(finished.out), finished.out / "shards" / "00000"
    (shard / "_SUCCESS.json").unlink()
    (shard / "failed.csv").write_text("reference,reason,message\n")
    build(finished)
    assert file_bytes(finished.out) == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_files_damaged_at_random_are_made_again(tmp_path, seed):
    finished = make(tmp_path, "gp")  # has features too
    before, chance = file_bytes(finished.out), random.Random(seed)
    for _ in range(15):
        for name in chance.sample([*sorted(before), "run.json"], 3):
            path = finished.out / name
            content = bytearray(path.read_bytes() or b"x")
            how, place = chance.randrange(4), chance.randrange(len(content))
            if how == 0:
                content[place] ^= 1 << chance.randrange(8)
            elif how == 1:
                content = content[:place]
            elif how == 2:
                content[place:place] = chance.randbytes(3)
            write_back(path, bytes(content)) if how < 3 else path.unlink()
        try:
            build(finished, repair=True)
        except StateError as error:
            # Where the only shard's record is lost together with run.json, nothing says whose the folder is.
            assert "run.json" in str(error)  # noqa: PT017
            for name, content in before.items():
                (finished.out / name).write_bytes(content)
            (finished.out / "run.json").unlink(missing_ok=True)
            build(finished, repair=True)
        assert file_bytes(finished.out) == before
        assert summarise(finished.out)["problems"] == []


def test_a_photo_that_changed_is_not_put_in_the_place_of_the_labelled_one(tmp_path):
    out = tmp_path / "out"
    refs = save_photos(tmp_path / "refs", ["a.png", "b.png"])
    config = custom_build(refs, save_rated(tmp_path / "rated", 2), out, transfer="knn", images="png")
    build(config)
    Image.fromarray(make_photo(7)).save(refs / "a.png")
    next(out.rglob(f"{reference_id('a.png')}_*_1.png")).unlink()
    report = build(config, repair=True)
    assert (report.failures, report.counts["rows"]) == ({"changed": 1}, 10)


def test_what_is_kept_of_anchors_is_measured_again_where_a_disk_has_changed_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refs, rated = save_photos(tmp_path / "refs", ["a.png"]), save_rated(tmp_path / "rated", 2, ["brighten"])
    first, second = (custom_build(refs, rated, tmp_path / name) for name in ("first", "second"))
    build(first)
    kept = sorted((tmp_path / "cache").rglob("*.npz"))
    for path in kept:
        path.write_bytes(flip(path.read_bytes(), path.stat().st_size // 2))
    build(second)
    assert kept
    assert file_bytes(second.out) == file_bytes(first.out)
