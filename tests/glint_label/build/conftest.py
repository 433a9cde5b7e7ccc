"""A small build, and what tests do to it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from tests.conftest import custom_build, make_photo, save_photos


@pytest.fixture
def config(refs, rated, tmp_path) -> BuildConfig:
    return custom_build(refs, rated, tmp_path / "out", transfer="knn", k=2)


@pytest.fixture
def many(tmp_path) -> Path:
    """Enough photos for three shards, names that need care included."""
    awkward = ["z, comma.png", 'z "quote".png', "z new\nline.png", "z späce ünïcode 写真.png", "-z.png"]
    names = [f"{number:03d}.png" for number in range(130)]
    return save_photos(tmp_path / "many", [*names, *awkward])


def command(config: BuildConfig, *more: str) -> list[str]:
    options = f"--refs {config.refs} --source custom --source-dir {config.source_dir} --out {config.out}"
    fixed = "--mos-range 1 5 --embedder statistics --transfer knn --k 2"
    return [sys.executable, "-m", "glint_cli.main", "build", *options.split(), *fixed.split(), *more]


def break_photo(path: Path) -> bytes:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return content


@pytest.fixture
def seeing(config) -> BuildConfig:
    return replace(config, transfer="gp")


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
