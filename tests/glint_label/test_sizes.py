"""Photos are brought to the size that the raters saw: reduced to cover it, the middle cut out, never enlarged."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glint_cli.main import main
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.distortions import distort
from glint_label.errors import UsageError
from glint_label.images import bring_to_size, read_photo
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.render import render_build
from glint_model.data.from_manifest import read_manifest_rows
from glint_model.data.photos import Photos
from tests.conftest import custom_build, make_photo

SIZE = (128, 96)


@given(st.integers(64, 400), st.integers(64, 400))
def test_a_photo_covers_the_size_exactly_or_stays(width, height):
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    wide, tall = SIZE if width >= height else SIZE[::-1]
    brought = bring_to_size(pixels, SIZE)
    if width >= wide and height >= tall:
        assert brought.shape == (tall, wide, 3)
    else:
        assert brought is pixels


def test_the_middle_is_kept_and_nothing_is_squeezed():
    photo = make_photo(1, 512, 384)
    panorama = np.concatenate([np.zeros((384, 200, 3), np.uint8), photo, np.zeros((384, 200, 3), np.uint8)], axis=1)
    np.testing.assert_array_equal(bring_to_size(panorama, (512, 384)), photo)
    upright = panorama.swapaxes(0, 1)
    np.testing.assert_array_equal(bring_to_size(upright, (512, 384)), photo.swapaxes(0, 1))


def test_a_photo_enlarged_by_whole_pixels_comes_back_exactly():
    photo = read_photo_of_texture()
    for factor in (2, 3, 8):
        large = photo.repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_array_equal(bring_to_size(large, (512, 384)), photo)


def read_photo_of_texture():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((512, 384), Image.Resampling.BICUBIC))


def test_pixels_are_the_same_on_every_machine():
    """Pillow reduces in integers: these sums are pinned."""
    photo = np.random.default_rng(5).integers(0, 256, (70, 100, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    brought = bring_to_size(photo, (512, 384)).astype(np.int64)
    assert brought.shape == (384, 512, 3)
    assert [int(brought[..., channel].sum()) for channel in range(3)] == SUMS


SUMS = [25077901, 25077475, 24821040]


def test_anchors_of_kadid10k_pass_unchanged(shared):
    for path in sorted((shared / "data" / "kadid10k" / "images").glob("I??.png")):
        photo = read_photo(path)
        np.testing.assert_array_equal(read_photo(path, size=(512, 384)).pixels, photo.pixels)


@pytest.fixture
def config(tmp_path, rated) -> BuildConfig:
    refs = tmp_path / "refs"
    refs.mkdir()
    for name, width, height in (("large.png", 300, 200), ("small.png", 100, 80), ("upright.png", 150, 280)):
        Image.fromarray(make_photo(len(name), width, height)).save(refs / name)
    return custom_build(refs, rated, tmp_path / "out", transfer="gp", size=SIZE)


def test_every_step_sees_the_same_picture(config, tmp_path):
    report = build(config)
    references = pd.read_csv(config.out / "references.csv").set_index("reference")
    columns = ["file_width", "file_height", "width", "height"]
    assert references.loc["large.png", columns].tolist() == [300, 200, 128, 96]
    assert references.loc["small.png", columns].tolist() == [100, 80, 100, 80]
    assert references.loc["upright.png", columns].tolist() == [150, 280, 96, 128]
    assert report.other_size == 3  # the anchors are 96 x 80
    figures = summarise(config.out)
    assert (figures["size"], figures["smaller"]) == ([128, 96], 1)
    assert json.loads((config.out / "label_schema.json").read_text())["size"] == [128, 96]
    render_build(config.out)
    row = read_manifest(config.out).query("reference == 'upright.png' and dist_name == 'lens_blur'").iloc[2]
    wanted = distort(
        bring_to_size(read_photo(config.refs / "upright.png").pixels, SIZE),
        "lens_blur",
        row["dist_level"],
        row["seed"],
    )
    made = read_photo(config.out / "shards" / "00000" / row["file_name"]).pixels
    np.testing.assert_array_equal(made, wanted)
    rows = read_manifest_rows(config.out).train
    shapes = {rows.photos[number].name: Photos(rows, 10**9)[number].shape for number in range(len(rows.photos))}
    assert shapes["large.png"] == (96, 128, 3)
    # The labels are those of the picture: a photo saved at that size gets the same ones.
    small = tmp_path / "sized"
    small.mkdir()
    for path in config.refs.iterdir():
        Image.fromarray(read_photo(path, size=SIZE).pixels).save(small / path.name)
    again = replace(config, refs=small, out=tmp_path / "again", size=None)
    build(again)
    assert read_manifest(again.out)["mos"].tolist() == read_manifest(config.out)["mos"].tolist()


def test_native_leaves_photos_as_they_are(config, tmp_path):
    build(replace(config, size=None, transfer="knn"))
    references = pd.read_csv(config.out / "references.csv").set_index("reference")
    assert references.loc["large.png", ["width", "height"]].tolist() == [300, 200]
    assert summarise(config.out)["size"] == "native"


def test_the_size_on_the_command_line(config, rated, tmp_path):
    options = ["build", "--refs", config.refs, "--source", "custom", "--source-dir", rated, "--out", tmp_path / "out"]
    options += ["--embedder", "statistics", "--transfer", "knn", "--k", "2", "--workers", "0", "--mos-range", "1", "5"]

    def run(*more):
        return CliRunner().invoke(main, [str(option) for option in (*options, *more)])

    assert run("--size", "native").exit_code == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["size"] == "native"
    refused = run()
    assert refused.exit_code == 3
    assert 'size: "native" -> [512, 384]' in refused.stderr
    assert "is not a size: write it like 512x384, or native" in run("--size", "big").stderr
    assert "must be wider than tall" in run("--size", "384x512").stderr
    with pytest.raises(UsageError, match="size 20: must be at least 64"):
        replace(config, size=(20, 10))
