"""Pixels: a row's recipe rebuilds its file bit for bit, whoever makes it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.distortions import distort
from glint_label.errors import InputError
from glint_label.images import read_photo
from glint_label.manifest import Selection, read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.progress import NoProgress, no_progress
from glint_label.render import render_build
from glint_label.sources.kadid10k import DISTORTIONS
from glint_label.temporaries import is_temporary, temporary_of
from tests.conftest import custom_build, save_photos, save_rated


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> BuildConfig:
    """Two photos, every distortion."""
    folder = tmp_path_factory.mktemp("render")
    refs = save_photos(folder / "refs", ["one.png", "two.jpg"])
    rated = save_rated(folder / "rated", anchors=3, distortions=DISTORTIONS)
    return custom_build(refs, rated, folder / "out", transfer="knn", workers=2, images="png")


@pytest.fixture(scope="module")
def built(config) -> Path:
    build(config)
    return config.out


@pytest.fixture(scope="module")
def few(tmp_path_factory, config) -> BuildConfig:
    """The same photos, three distortions."""
    folder = tmp_path_factory.mktemp("few")
    rated = save_rated(folder / "rated", anchors=3, distortions=DISTORTIONS[:3])
    made = replace(config, source_dir=rated, out=folder / "out", workers=0)
    build(made)
    return made


def test_a_photo_whose_distortions_do_not_fit_into_memory_costs_itself_alone(few, monkeypatch, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(few.out, out)
    for name in read_manifest(out).query("reference == 'two.jpg'")["file_name"]:
        (out / "shards" / "00000" / name).unlink()
    monkeypatch.setattr("glint_label.distortions.distort", lambda *_, **__: torch.empty(1 << 50))
    report = render_build(out)
    ((name, message),) = report.failures
    assert name == "two.jpg"
    assert message.startswith("not enough memory to distort it")
    assert report.present == 15


def test_what_killed_workers_left_half_written_is_gone_in_the_end(few, tmp_path):
    def leave(what: str, total: int, done: int) -> NoProgress:
        for folder in (tmp_path / "out").glob("shards/*"):
            temporary_of(folder / f"{what}.png").write_bytes(b"half")
        return no_progress(what, total, done)

    config = replace(few, out=tmp_path / "out", images="none")
    build(config, progress=leave)
    render_build(config.out, progress=leave)
    assert pixel_files(config.out) == pixel_files(few.out)
    assert not [path for path in config.out.rglob("*") if is_temporary(path.name)]


def pixel_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("shards/*/*_[1-5].*"))}


@pytest.mark.slow
def test_every_file_is_what_its_row_says(config, built):
    rows = read_manifest(built)
    assert len(rows) == 250
    photos = {name: read_photo(config.refs / name).pixels for name in rows["reference"].unique()}
    for row in rows.itertuples():
        pixels = read_photo(built / "shards" / "00000" / row.file_name).pixels
        wanted = distort(photos[row.reference], row.dist_name, row.dist_level, seed=row.seed)
        np.testing.assert_array_equal(pixels, wanted, err_msg=f"{row.dist_name} {row.dist_level}")
    assert summarise(built)["problems"] == []


@pytest.mark.slow
def test_render_makes_the_files_that_build_makes(config, built, tmp_path):
    bare = replace(config, out=tmp_path / "bare", images="none")
    build(bare)
    assert not pixel_files(bare.out)
    made = render_build(bare.out, selection=Selection(distortions=("jpeg",), levels=(5,)))
    assert (made.written, made.present) == (2, 0)
    assert all(name.endswith("_10_5.png") for name in pixel_files(bare.out))
    made = render_build(bare.out, workers=1)
    assert (made.written, made.present) == (248, 2)
    assert pixel_files(bare.out) == pixel_files(built)


@pytest.mark.slow
def test_webp_holds_the_same_pixels(config, built, tmp_path):
    webp = replace(config, out=tmp_path / "webp", images="webp", limit=1)
    build(webp)
    for name in pixel_files(webp.out):
        pixels = read_photo(webp.out / "shards" / "00000" / name).pixels
        png = read_photo(built / "shards" / "00000" / name.replace(".webp", ".png")).pixels
        np.testing.assert_array_equal(pixels, png)


def test_lost_pixels_are_noticed_and_made_again(few):
    built = few.out
    before = pixel_files(built)
    (built / "shards" / "00000" / next(iter(before))).unlink()
    assert "is missing; run the same build command with --repair" in summarise(built)["problems"][0]
    assert render_build(built).written == 1
    assert pixel_files(built) == before


def test_a_photo_that_is_not_the_labelled_one_is_refused(few, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(few.refs, moved)
    copy = tmp_path / "copy"
    shutil.copytree(few.out, copy)
    for path in copy.rglob("*_01_1.png"):
        path.unlink()
    assert render_build(copy, refs=moved).written == 2
    for path in copy.rglob("*_01_1.png"):
        path.unlink()
    save_photos(moved, ["one.png"], first_seed=5)
    ((name, message),) = render_build(copy, refs=moved).failures
    assert name == "one.png"
    assert message.startswith("is not the file that was labelled")
    with pytest.raises(InputError, match="no row passes the filter"):
        render_build(copy, selection=Selection(references=("three.png",)))
    with pytest.raises(InputError, match="no such folder"):
        render_build(copy, refs=tmp_path / "nowhere")
