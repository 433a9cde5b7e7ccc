"""Limits of codecs and operators are known before work: a row with its reason, never a traceback in the middle."""

import csv

import numpy as np
import pytest
from PIL import Image

from glint_label.distortions import distort
from glint_label.distortions.dither import dither
from glint_label.errors import ImageError, InputError
from glint_label.images import encode_image, read_photo
from tests.glint_cli.test_commands import run

OPTIONS = ["--source", "custom", "--mos-range", "1", "5", "--embedder", "statistics", "--transfer", "knn"]
OPTIONS += ["--workers", "0", "--k", "1"]


def save_strip(path, width: int, height: int) -> None:
    Image.effect_noise((width, height), 40).convert("RGB").save(path, compress_level=1)


def failures(out) -> dict[str, str]:
    with (out / "shards" / "00000" / "failed.csv").open(newline="") as file:
        return {row["reference"]: f"{row['reason']}: {row['message']}" for row in csv.DictReader(file)}


@pytest.mark.parametrize("size", ["native", pytest.param("512x384", marks=pytest.mark.slow)])
def test_photos_that_no_webp_can_hold_are_rows(refs, rated, tmp_path, size):
    save_strip(refs / "wide.png", 16_384, 64)
    save_strip(refs / "tall.png", 64, 16_384)
    options = ["--refs", refs, "--source-dir", rated, "--out", tmp_path / "out", "--size", size, *OPTIONS]
    assert "references  9" in run("build", *options, "--images", "webp", "--dry-run").stdout
    assert "2 photos could not be used (2 too_large)" in run("build", *options, "--images", "webp").stdout
    found = failures(tmp_path / "out")
    assert "16384 x 64" in found["wide.png"]
    assert "64 x 16384" in found["tall.png"]
    assert "16,383 px" in found["tall.png"]


def test_photos_that_no_jpeg_can_hold_are_rows(refs, rated, tmp_path):
    save_strip(refs / "wide.png", 65_501, 64)
    save_strip(refs / "tall.png", 64, 65_501)
    options = ["--refs", refs, "--source-dir", rated, "--out", tmp_path / "out", *OPTIONS]
    assert "2 photos could not be used (2 too_large)" in run("build", *options).stdout
    assert "65,500 px" in failures(tmp_path / "out")["wide.png"]


def test_what_is_reduced_to_a_size_that_fits_is_no_problem(tmp_path):
    save_strip(tmp_path / "x.png", 17_000, 400)
    assert read_photo(tmp_path / "x.png", size=(512, 384), longest=16_383).pixels.shape == (384, 512, 3)
    with pytest.raises(ImageError, match="17000 x 400") as caught:
        read_photo(tmp_path / "x.png", longest=16_383)
    assert caught.value.reason == "too_large"


def test_codecs_say_what_they_cannot_hold():
    long = np.zeros((64, 65_501, 3), np.uint8)
    with pytest.raises(InputError, match="65,500"):
        distort(long, "jpeg", 1)
    with pytest.raises(InputError, match="16,383"):
        encode_image(long, ".webp")
    assert encode_image(long, ".png")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(16, 65_500, 3), (65_500, 16, 3)])
def test_a_dither_takes_memory_as_the_image_does(shape):
    image = np.full(shape, 130, np.uint8)  # by the square of the width, it once took 96 GB
    palette = np.array([[0, 0, 0], [255, 255, 255]])
    assert abs(float(dither(image, palette).mean()) - 130) < 3
