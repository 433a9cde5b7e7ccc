"""A build whose photos have names that are markup, and reports of it."""

from pathlib import Path

import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.manifest.inspect import inspect_build
from glint_label.report import report_build
from tests.conftest import custom_build, save_photos, save_rated

MARKUP = "<img src=x onerror=alert(1)>.png"


def settings(root: Path) -> BuildConfig:
    """Settings of a build of nine photos, one of them damaged and two the same."""
    rated = save_rated(root / "rated", anchors=6)
    names = [MARKUP, *(f"photo {number}.png" for number in range(6))]
    refs = save_photos(root / "refs", names)
    (refs / "again.png").write_bytes((refs / "photo 3.png").read_bytes())
    (refs / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return custom_build(refs, rated, root / "build", transfer="knn", k=2)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    config = settings(tmp_path_factory.mktemp("reported"))
    build(config)
    return config.out


@pytest.fixture(scope="session")
def html(built) -> str:
    return report_build(built, inspect_build(built))
