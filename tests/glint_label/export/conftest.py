"""A small build whose photos have the names that trip programs up, and what its exports must hold."""

from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.distortions import distort
from glint_label.images import read_photo
from glint_label.manifest import read_manifest, split_of
from tests.conftest import custom_build, save_photos, save_rated

NAMES = ["=1+1.png", "@sub/-ü, 'x'.jpg", next(f"{n}.png" for n in count() if split_of(f"{n}.png") == "val")]


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> BuildConfig:
    """Three photos, one of them in val; two distortions, five levels."""
    folder = tmp_path_factory.mktemp("export")
    refs = save_photos(folder / "refs", NAMES)
    config = custom_build(refs, save_rated(folder / "rated"), folder / "build", transfer="knn")
    build(config)
    return config


@pytest.fixture(scope="session")
def built(config) -> Path:
    return config.out


@pytest.fixture(scope="session")
def wanted(built) -> pd.DataFrame:
    """Every row of the build, by the stem of its file's name."""
    rows = read_manifest(built)
    assert set(rows["split"]) == {"train", "val"}
    assert len(rows) == 30
    return rows.set_index(rows["file_name"].str.removesuffix(".png"))


@pytest.fixture(scope="session")
def pixels(config, wanted) -> dict[str, np.ndarray]:
    """What every image must look like, by the same names."""
    photos = {name: read_photo(config.refs / name).pixels for name in wanted["reference"].unique()}
    return {
        key: distort(photos[row.reference], row.dist_name, row.dist_level, seed=row.seed)
        for key, row in zip(wanted.index, wanted.itertuples(), strict=True)
    }
