"""The whole build on small input: same bytes however it is run, nothing lost whatever goes wrong."""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import (
    InputError,
    OutputError,
    SourceError,
    StateError,
    TooManyFailuresError,
    UsageError,
)
from glint_label.manifest import METADATA_COLUMNS, read_manifest, reference_id
from glint_label.manifest.inspect import summarise
from glint_label.sources.kadid10k import DISTORTIONS
from tests.conftest import file_bytes, make_photo, save_photos, save_rated


@pytest.fixture
def config(refs, rated, tmp_path) -> BuildConfig:
    return BuildConfig(
        refs=refs,
        out=tmp_path / "out",
        source="custom",
        source_dir=rated,
        mos_range=(1, 5),
        embedder="statistics",
        transfer="knn",
        k=2,
        workers=0,
    )


@pytest.fixture
def many(tmp_path) -> Path:
    """Enough photos for three shards, names that need care included."""
    awkward = ["z, comma.png", 'z "quote".png', "z new\nline.png", "z späce ünïcode 写真.png", "-z.png"]
    names = [f"{number:03d}.png" for number in range(130)]
    return save_photos(tmp_path / "many", [*names, *awkward])


def test_every_reference_gets_every_cell(config):
    report = build(config)
    rows = read_manifest(config.out)
    assert report.counts == {"references": 7, "abstained": 0, "excluded": 0, "failed": 0, "rows": 70, "shards": 1}
    assert list(rows.columns) == [*METADATA_COLUMNS, "shard"]
    assert rows["reference"].tolist() == [
        name for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.tiff", "sub/f.png", "sub/g.png") for _ in range(10)
    ]
    first = rows.iloc[0]
    assert first["file_name"] == f"{reference_id('a.jpg')}_01_1.png"
    assert (first["dist_name"], first["dist_type"], first["dist_level"]) == ("gaussian_blur", 1, 1)
    assert rows["mos"].between(1, 5).all()
    assert (rows["mos_error"] > 0).all()
    assert not rows.duplicated(["reference_id", "dist_type", "dist_level"]).any()
    assert not rows["seed"].duplicated().any()
    assert rows["seed"].between(0, 2**53 - 1).all()
    assert summarise(config.out)["problems"] == []


def test_labels_are_those_of_the_named_neighbours(config):
    build(config)
    references = pd.read_csv(config.out / "references.csv")
    rows = read_manifest(config.out)
    ratings = pd.read_csv(config.source_dir / "ratings.csv")
    for reference in references.itertuples():
        chosen = [
            a for a, w in zip(json.loads(reference.neighbours), json.loads(reference.weights), strict=True) if w > 0
        ]
        mean = ratings[ratings["anchor"].isin(chosen)].groupby(["distortion", "level"])["mos"].mean()
        mine = rows[rows["reference_id"] == reference.reference_id].set_index(["dist_name", "dist_level"])["mos"]
        np.testing.assert_allclose(mine, mean.reindex(mine.index), atol=6e-5)
        assert (rows.loc[rows["reference_id"] == reference.reference_id, "anchor"] == chosen[0]).all()


def test_workers_and_the_order_of_the_folder_change_nothing(config, many, tmp_path, monkeypatch):
    config = replace(config, refs=many)
    build(config)
    wanted = file_bytes(config.out)
    assert len([name for name in wanted if name.endswith("_SUCCESS.json")]) == 3
    for workers in (1, 2):
        other = replace(config, out=tmp_path / f"workers{workers}", workers=workers)
        build(other)
        assert file_bytes(other.out) == wanted
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **options: ((a, b[::-1], c[::-1]) for a, b, c in walk(top, **options)))
    reversed_listing = replace(config, out=tmp_path / "reversed")
    build(reversed_listing)
    assert file_bytes(reversed_listing.out) == wanted
    assert "z new\nline.png" in set(read_manifest(config.out)["reference"])


def command(config: BuildConfig, *more: str) -> list[str]:
    options = f"--refs {config.refs} --source custom --source-dir {config.source_dir} --out {config.out}"
    fixed = "--mos-range 1 5 --embedder statistics --transfer knn --k 2"
    return [sys.executable, "-m", "glint_cli.main", "build", *options.split(), *fixed.split(), *more]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


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
    assert process.returncode == code
    assert errors.strip().splitlines()[-1].startswith("Error: interrupted; what is finished is kept")
    assert "Traceback" not in errors


def break_photo(path: Path) -> bytes:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return content


def test_bad_photos_become_rows_and_the_rest_goes_on(config):
    break_photo(config.refs / "b.png")
    (config.refs / "empty.png").touch()
    (config.refs / "text.jpg").write_text("hello")
    Image.new("RGB", (40, 400)).save(config.refs / "tiny.png")
    report = build(config)
    assert report.counts["references"] == 6
    assert report.failures == {"empty": 1, "not_an_image": 1, "too_small": 1, "truncated": 1}
    failed = pd.read_csv(config.out / "shards" / "00000" / "failed.csv")
    assert failed["reference"].tolist() == ["b.png", "empty.png", "text.jpg", "tiny.png"]
    assert str(config.refs) not in failed["message"].str.cat()
    figures = summarise(config.out)
    assert figures["problems"] == []
    assert len(figures["failures"]) == 4


def test_repaired_photos_join_by_retry_failed_as_if_they_had_never_failed(config, many, tmp_path):
    config = replace(config, refs=many)
    build(replace(config, out=tmp_path / "whole"))
    repaired = {name: break_photo(many / name) for name in ("003.png", "070.png")}
    build(config)
    for name, content in repaired.items():
        (many / name).write_bytes(content)
    assert build(config).counts["failed"] == 2  # a plain run leaves failures alone
    opened = (many / "004.png").stat().st_atime_ns
    report = build(config, retry_failed=True)
    assert report.counts["failed"] == 0
    assert file_bytes(config.out) == file_bytes(tmp_path / "whole")
    assert (many / "004.png").stat().st_atime_ns == opened


def test_too_many_failures_stop_it_and_keep_the_rest(config):
    (config.refs / "x.png").touch()
    (config.refs / "y.png").touch()
    with pytest.raises(TooManyFailuresError, match="2 photos could not be used, more than --max-failures 1"):
        build(replace(config, max_failures=1))
    assert build(replace(config, max_failures=2)).counts["references"] == 7


def test_no_usable_photo_is_an_error(config, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").touch()
    with pytest.raises(InputError, match="none of the 1 photos could be used"):
        build(replace(config, refs=tmp_path / "bad"))


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
        ({"limit": 3}, r"references\.count: 7 -> 3"),
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


def test_an_output_among_the_photos_is_refused(config):
    with pytest.raises(UsageError, match="its images would be taken for photos"):
        build(replace(config, out=config.refs / "out"))


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


def test_overwrite_starts_again_and_touches_only_builds(config):
    build(config)
    (config.out / "shards" / "00007").mkdir()
    build(replace(config, k=3), overwrite=True)
    assert not (config.out / "shards" / "00007").exists()
    foreign = config.out.parent / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(StateError, match=r"holds files that no build made \(thesis\.tex\)"):
        build(replace(config, out=foreign), overwrite=True)
    assert (foreign / "thesis.tex").exists()


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


def test_an_output_that_cannot_be_a_folder_is_an_error(config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        build(replace(config, out=tmp_path / "file"))


def test_two_builds_do_not_write_into_one_folder(config):
    from filelock import FileLock

    config.out.mkdir()
    with (
        FileLock(config.out / ".lock"),
        pytest.raises(StateError, match="another glint-label command is writing"),
    ):
        build(config)


def test_an_anchor_that_does_not_open_is_named(config):
    break_photo(config.source_dir / "anchors" / "a1.png")
    with pytest.raises(SourceError, match=r"a1\.png: the anchor does not open \(truncated"):
        build(config)


def test_dissimilar_references_get_no_labels_and_are_counted(config):
    Image.fromarray(make_photo(0)).save(config.refs / "copy of an anchor.png")
    report = build(replace(config, min_similarity=0.95))
    assert report.counts["abstained"] >= 1
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False)
    abstained = references[references["weights"] == "[]"]
    assert len(abstained) == report.counts["abstained"]
    assert set(abstained["split"]) == {""}
    rows = read_manifest(config.out)
    assert not set(rows["reference_id"]) & set(abstained["reference_id"])
    copy = references.set_index("reference").loc["copy of an anchor.png"]
    assert copy["near_duplicate_of"] == "anchor:anchors/a0.png"
    assert (rows["similarity"] >= 0.95).all()


def test_near_duplicates_share_a_split(config, tmp_path):
    refs = save_photos(tmp_path / "pairs", [f"{number:02d}.png" for number in range(70)])
    for number in range(70):
        Image.open(refs / f"{number:02d}.png").save(refs / f"copy{number:02d}.jpg", quality=98)
    build(replace(config, refs=refs))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    assert (references["near_duplicate_of"] != "").sum() >= 60
    for name, row in references.iterrows():
        if row["near_duplicate_of"] and not row["near_duplicate_of"].startswith("anchor:"):
            assert row["split"] == references.loc[row["near_duplicate_of"], "split"], name
    assert set(references["split"]) == {"train", "val"}


def test_copies_in_other_shards_share_a_group_and_a_split(config, tmp_path):
    refs = save_photos(tmp_path / "originals", [f"{number:03d}.png" for number in range(130)])
    for number in range(0, 40, 4):
        photo = Image.open(refs / f"{number:03d}.png")
        half = photo.resize((photo.width * 9 // 10, photo.height * 9 // 10), Image.Resampling.LANCZOS)
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(refs / f"m{number:03d}.png")
        half.save(refs / f"s{number:03d}.webp", quality=80)
        photo.save(refs / f"q{number:03d}.jpg", quality=50)
    build(replace(config, refs=refs))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    for name in [name for name in references.index if not name[0].isdigit()]:
        original = references.loc[f"{name[1:4]}.png"]
        assert references.loc[name, "near_duplicate_of"] == f"{name[1:4]}.png"
        assert references.loc[name, "split"] == original["split"]
        assert references.loc[name, "shard"] != original["shard"]
    alone = references[references.index.str[0].str.isdigit()]
    assert (alone["near_duplicate_of"] == "").all()


@pytest.fixture
def benchmark_images(config, tmp_path) -> Path:
    """Copies of two references and one stranger."""
    folder = tmp_path / "benchmark"
    (folder / "sub").mkdir(parents=True)
    photo = Image.open(config.refs / "sub" / "f.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "sub" / "seen.jpg", quality=60)
    Image.open(config.refs / "c.webp").save(folder / "other.png")
    Image.fromarray(make_photo(999)).save(folder / "stranger.png")
    return folder


def test_near_duplicates_of_excluded_images_get_no_labels(config, benchmark_images, tmp_path):
    Image.open(config.refs / "c.webp").save(config.refs / "again.jpg", quality=90)
    guarded = replace(config, exclude_near=benchmark_images)
    report = build(guarded)
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    dropped = {"again.jpg": "excluded:other.png", "c.webp": "excluded:other.png", "sub/f.png": "excluded:sub/seen.jpg"}
    assert references.loc[references["weights"] == "[]", "near_duplicate_of"].to_dict() == dropped
    assert report.counts == {"references": 8, "abstained": 0, "excluded": 3, "failed": 0, "rows": 50, "shards": 1}
    assert not set(read_manifest(config.out)["reference"]) & set(dropped)
    figures = summarise(config.out)
    assert figures["problems"] == []
    assert {row["reference"]: row["of"] for row in figures["near_duplicates"]} == dropped
    assert "3 excluded" in (config.out / "README.md").read_text()
    again = replace(guarded, out=tmp_path / "again", workers=2)
    build(again)
    assert file_bytes(again.out) == file_bytes(config.out)


def test_excluded_images_are_part_of_the_settings(config, benchmark_images):
    build(replace(config, exclude_near=benchmark_images))
    with pytest.raises(StateError, match="exclude_near"):
        build(config)
    Image.fromarray(make_photo(1000)).save(benchmark_images / "stranger.png")
    with pytest.raises(StateError, match=r"exclude_near\.sha256"):
        build(replace(config, exclude_near=benchmark_images))


def test_an_excluded_image_that_does_not_open_is_a_hole_and_an_error(config, benchmark_images):
    break_photo(benchmark_images / "other.png")
    with pytest.raises(InputError, match=r"other\.png: does not open \(truncated.* its copies cannot be found"):
        build(replace(config, exclude_near=benchmark_images))


def test_copies_of_held_out_anchors_are_named_and_labelled_from_the_others(config):
    photo = Image.open(config.source_dir / "anchors" / "a1.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(config.refs / "a copy.png")
    build(replace(config, exclude_anchors=("anchors/a1.png",)))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    copy = references.loc["a copy.png"]
    assert copy["near_duplicate_of"] == "anchor:anchors/a1.png"
    assert "anchors/a1.png" not in copy["neighbours"]
    assert len(read_manifest(config.out).query("reference == 'a copy.png'")) == 10


def test_a_held_out_anchor_among_the_excluded_images_gets_no_labels(config):
    Image.open(config.source_dir / "anchors" / "a1.png").save(config.refs / "a copy.png")
    anchors = config.source_dir / "anchors"
    report = build(replace(config, exclude_anchors=("anchors/a1.png",), exclude_near=anchors))
    assert report.counts["excluded"] == 1
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    assert references.loc["a copy.png", "near_duplicate_of"] == "excluded:a1.png"


def test_distortions_that_cannot_be_made_are_left_out_and_named(config, tmp_path):
    rated = save_rated(tmp_path / "exotic", distortions=("gaussian_blur", "gamma_rays"))
    report = build(replace(config, source_dir=rated))
    assert report.left_out == ("gamma_rays",)
    assert set(read_manifest(config.out)["dist_name"]) == {"gaussian_blur"}
    assert "gamma_rays" in (config.out / "README.md").read_text()
    only_exotic = save_rated(tmp_path / "more", distortions=("gamma_rays",))
    with pytest.raises(SourceError, match=r"none of its distortions \(gamma_rays, \.\.\.\) can be made here"):
        build(replace(config, source_dir=only_exotic, out=tmp_path / "none"))


@pytest.mark.parametrize(
    "change",
    [
        {"k": 0},
        {"embedder": "vgg"},
        {"embedder": "file:"},
        {"transfer": "magic"},
        {"source": "koniq"},
        {"images": "jpeg"},
        {"limit": 0},
        {"workers": -1},
    ],
)
def test_options_that_do_not_exist_are_refused_before_any_work(config, change):
    with pytest.raises(UsageError):
        replace(config, **change)


def test_seeds_depend_on_name_and_seed_alone(config, tmp_path):
    build(config)
    alone = save_photos(tmp_path / "alone", ["sub/g.png"])
    build(replace(config, refs=alone, out=tmp_path / "alone-out"))
    together = read_manifest(config.out)
    mine = together.loc[together["reference"] == "sub/g.png", "seed"].tolist()
    assert read_manifest(tmp_path / "alone-out")["seed"].tolist() == mine
    build(replace(config, seed=1, out=tmp_path / "seed1"))
    assert not set(read_manifest(tmp_path / "seed1")["seed"]) & set(together["seed"])


def test_the_real_photos_are_all_labelled(shared, tmp_path):
    config = BuildConfig(
        refs=shared / "data" / "pristine",
        out=tmp_path / "out",
        source="kadid10k",
        source_dir=shared / "data" / "kadid10k",
        allow_missing_anchors=True,
        embedder="statistics",
        transfer="knn",
        workers=2,
    )
    report = build(config)
    rows = read_manifest(config.out)
    conditions = [(name, level) for name in DISTORTIONS for level in range(1, 6)]
    made = list(zip(rows["dist_name"][: len(conditions)], rows["dist_level"][: len(conditions)], strict=True))
    assert report.counts["references"] == 104
    assert report.missing_anchors == ("I04",)
    assert len(rows) == 104 * len(made)
    assert made == [condition for condition in conditions if condition in set(made)]
    run = json.loads((config.out / "run.json").read_text())
    assert run["missing_anchors"] == ["I04"]
    assert run["config"]["references"]["count"] == 104


# -- builds that look at visibility -----------------------------------------------------------------------------------


@pytest.fixture
def seeing(config) -> BuildConfig:
    return replace(config, transfer="gp")


def test_visibility_changes_labels_and_workers_do_not(seeing, tmp_path):
    build(seeing)
    wanted = file_bytes(seeing.out)
    assert "shards/00000/features.npz" in wanted
    assert "audit.json" in wanted
    other = replace(seeing, out=tmp_path / "workers", workers=2)
    build(other)
    assert file_bytes(other.out) == wanted
    blind = replace(seeing, out=tmp_path / "blind", transfer="gp-content")
    build(blind)
    assert not list(blind.out.rglob("features.npz"))
    mine, theirs = read_manifest(seeing.out)["mos"], read_manifest(blind.out)["mos"]
    assert (mine != theirs).any()
    np.testing.assert_allclose(mine, theirs, atol=1)


def test_stopped_while_it_looks_it_goes_on_and_ends_in_the_same_bytes(seeing, tmp_path, monkeypatch):
    from glint_label.visibility import features

    build(replace(seeing, out=tmp_path / "whole"))
    measure = features.measure_features
    left = iter([True] * 4)

    def measure_some(*arguments):
        if not next(left, False):
            raise KeyboardInterrupt
        return measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(features, "measure_features", measure_some)
        with pytest.raises(KeyboardInterrupt):
            build(seeing)
    assert not list(seeing.out.rglob("metadata.csv"))
    build(seeing)
    assert file_bytes(seeing.out) == file_bytes(tmp_path / "whole")


def test_a_repaired_photo_is_looked_at_and_the_others_are_not_again(seeing, tmp_path, monkeypatch):
    from glint_label.visibility import features

    build(replace(seeing, out=tmp_path / "whole"))
    content = break_photo(seeing.refs / "b.png")
    build(seeing)
    (seeing.refs / "b.png").write_bytes(content)
    measure, seen = features.measure_features, []

    def note(pixels, *arguments):
        seen.append(pixels.shape)
        return measure(pixels, *arguments)

    monkeypatch.setattr(features, "measure_features", note)
    assert build(seeing, retry_failed=True).counts["failed"] == 0
    assert len(seen) == 1
    assert file_bytes(seeing.out) == file_bytes(tmp_path / "whole")


def test_the_card_tells_how_good_the_labels_are(seeing):
    build(seeing)
    card = (seeing.out / "README.md").read_text()
    assert "## How good the labels are" in card
    audit = json.loads((seeing.out / "audit.json").read_text())
    figures = {row["transfer"]: row for row in audit["rows"]}
    assert f"| **gp** | {figures['gp']['srocc']:.3f}" in card
    assert {"top1", "cell-mean", "oracle", "noise-ceiling"} <= set(figures)


def test_too_few_anchors_for_an_audit_still_give_labels(config, tmp_path):
    few = replace(config, source_dir=save_rated(tmp_path / "few", anchors=2), transfer="cell-mean")
    build(few)
    assert not (few.out / "audit.json").exists()
    assert "How good the labels are" not in (few.out / "README.md").read_text()
