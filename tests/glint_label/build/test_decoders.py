"""A decoder that crashes, hangs or eats memory costs its photo, and never the job."""

from dataclasses import replace

import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.photos import read_failures
from glint_label.build.pipeline import build
from tests.conftest import custom_build, file_bytes, save_photos, save_sized


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
