"""A decoder that crashes, hangs or eats memory costs its photo, and never the job."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from glint_label.build.photos import read_failures
from glint_label.build.pipeline import build
from tests.conftest import custom_build, file_bytes, make_photo, save_photos

# Python runs this when a worker starts. What a decoder does to a picture is told by the picture's size.
_BROKEN_DECODERS = """
import os, signal, time
from PIL import Image, ImageFile

def load(self, load=ImageFile.ImageFile.load):
    if self.size == (101, 79):
        os.kill(os.getpid(), signal.SIGSEGV)
    if self.size == (103, 79):
        time.sleep(3600)
    if self.size == (107, 79):
        hoard = [bytearray(1 << 40)]
    return load(self)

ImageFile.ImageFile.load = load
"""


@pytest.fixture
def broken_decoders(tmp_path, monkeypatch):
    folder = tmp_path / "decoders"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_BROKEN_DECODERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def save_sized(path: Path, width: int) -> None:
    Image.fromarray(make_photo(width, width=width, height=79)).save(path)


def failures_of(config: BuildConfig) -> dict[str, str]:
    return {name: reason for name, reason, _ in read_failures(config.out / "shards" / "00000")}


@pytest.mark.usefixtures("broken_decoders")
@pytest.mark.parametrize(
    ("width", "reason"),
    [
        (101, "crashed"),
        pytest.param(103, "timeout", marks=pytest.mark.slow),
        pytest.param(107, "memory", marks=pytest.mark.slow),
    ],
)
def test_the_photo_fails_and_the_build_goes_on(config, tmp_path, width, reason):
    whole = build(replace(config, out=tmp_path / "whole"))
    save_sized(config.refs / "cc.png", width)
    config = replace(config, workers=1, photo_timeout=10 if reason == "timeout" else 300)
    report = build(config)
    assert failures_of(config) == {"cc.png": reason}
    assert report.failures == {reason: 1}
    assert report.counts["rows"] == whole.counts["rows"]
    tables = file_bytes(config.out)["shards/00000/metadata.csv"]
    assert tables == file_bytes(tmp_path / "whole")["shards/00000/metadata.csv"]


@pytest.mark.slow
@pytest.mark.usefixtures("broken_decoders")
def test_it_is_tried_again_when_asked_for(config, monkeypatch):
    save_sized(config.refs / "cc.png", 101)
    build(replace(config, workers=1))
    assert failures_of(config) == {"cc.png": "crashed"}
    monkeypatch.delenv("PYTHONPATH")
    report = build(config, retry_failed=True)
    assert report.failures == {}
    assert report.counts["references"] == 8


@pytest.mark.slow
@pytest.mark.usefixtures("broken_decoders")
def test_many_broken_photos_do_not_end_the_job(tmp_path, rated):
    refs = save_photos(tmp_path / "some", ["a.png", "b.png"])
    for number in range(3):
        save_sized(refs / f"broken{number}.png", 101)
    config = custom_build(refs, rated, tmp_path / "out", transfer="top1", workers=2)
    assert build(config).failures == {"crashed": 3}
