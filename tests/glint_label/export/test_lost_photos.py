"""A photo that no worker survives is named; the other parts of the export are made and kept."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.export import FORMATS, export_build, rows
from glint_label.export.format import Part, Sample
from glint_label.export.webdataset import WebDataset
from glint_label.manifest import split_of
from glint_label.temporaries import temporary_of
from tests.conftest import custom_build, save_photos, save_rated, save_sized
from tests.glint_label.export.test_export import exported

TRAIN = [name for name in (f"{number}.png" for number in range(20)) if split_of(name) == "train"][:4]
ODD = TRAIN[1]


@pytest.fixture
def odd(tmp_path, monkeypatch, request) -> BuildConfig:
    """Four photos with their images, two a part; the second is as wide as the test asks for."""
    refs = save_photos(tmp_path / "refs", TRAIN)
    save_sized(refs / ODD, request.param)
    config = custom_build(refs, save_rated(tmp_path / "rated"), tmp_path / "build", transfer="knn", images="png")
    build(config)
    monkeypatch.setattr(rows, "IMAGES_A_PART", (1, 1))
    return config


@pytest.mark.slow
@pytest.mark.usefixtures("broken_decoders")
@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (101, "the process that worked on it died, twice"),
        (103, "took more than 9 seconds, twice"),
        (107, "not enough memory to decode it"),
    ],
    indirect=["odd"],
)
def test_it_is_named_and_the_rest_is_kept(odd, tmp_path, monkeypatch, message):
    out = tmp_path / "out"
    limit = 9 if "seconds" in message else 300
    report = export_build(odd.out, "webdataset", out, images="png", workers=1, photo_timeout=limit)
    ((name, words),) = report.failures
    assert name == ODD
    assert words.startswith(message)
    assert not exported(out)
    monkeypatch.delenv("PYTHONPATH")
    assert export_build(odd.out, "webdataset", out, images="png").kept == 20
    export_build(odd.out, "webdataset", tmp_path / "whole", images="png")
    assert exported(out) == exported(tmp_path / "whole")


class Fragile(WebDataset):
    """Does not survive the part with the odd photo."""

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        if any(facts["reference"] == ODD for facts in part.references):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write_part(part, samples, folder)


@pytest.mark.slow
@pytest.mark.parametrize("odd", [96], indirect=True)
def test_where_no_photo_is_to_blame_the_part_is(odd, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "webdataset", Fragile())
    ((names, words),) = export_build(odd.out, "webdataset", tmp_path / "out", images="png", workers=1).failures
    assert names == f"{TRAIN[0]} to {ODD}"
    assert words.startswith("part train-00000: the process that worked on it died, twice, though each photo")


class Interrupted(WebDataset):
    """Leaves a half-written file beside each part, as a worker that is killed does before another makes the part."""

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        written = super().write_part(part, samples, folder)
        temporary_of(written[0]).write_bytes(b"half")
        return written


def test_what_killed_workers_left_behind_is_not_shown(built, tmp_path, monkeypatch):
    export_build(built, "webdataset", tmp_path / "whole")
    monkeypatch.setitem(FORMATS, "webdataset", Interrupted())
    export_build(built, "webdataset", tmp_path / "out")
    assert exported(tmp_path / "out") == exported(tmp_path / "whole")
