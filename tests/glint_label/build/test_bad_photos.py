"""Photos that cannot be used become rows; the rest goes on."""

from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from glint_label.build.pipeline import build
from glint_label.errors import InputError, SourceError, TooManyFailuresError
from glint_label.manifest.inspect import summarise
from tests.conftest import file_bytes
from tests.glint_label.build.conftest import break_photo


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


@pytest.mark.slow
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


def test_an_anchor_that_does_not_open_is_named(config):
    break_photo(config.source_dir / "anchors" / "a1.png")
    with pytest.raises(SourceError, match=r"a1\.png: the anchor does not open \(truncated"):
        build(config)


@pytest.mark.slow
def test_a_repaired_photo_is_looked_at_and_the_others_are_not_again(seeing, tmp_path, monkeypatch):
    from glint_label.visibility import features

    build(replace(seeing, out=tmp_path / "whole"))
    content = break_photo(seeing.refs / "b.png")
    build(seeing)
    (seeing.refs / "b.png").write_bytes(content)
    measure, seen = features.measure_features, []

    def note(pixels, *arguments, **options):
        seen.append(pixels.shape)
        return measure(pixels, *arguments, **options)

    monkeypatch.setattr(features, "measure_features", note)
    assert build(seeing, retry_failed=True).counts["failed"] == 0
    assert len(seen) == 1
    assert file_bytes(seeing.out) == file_bytes(tmp_path / "whole")
