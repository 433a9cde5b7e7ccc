"""A rendered build loads with the Hugging Face library, as manifests/README.md says."""

from dataclasses import replace

import numpy as np
import pytest

from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.images import read_photo
from glint_label.manifest import read_manifest
from glint_label.render import render_build

datasets = pytest.importorskip("datasets", reason="needs `pip install datasets`")


@pytest.mark.filterwarnings("ignore")
def test_the_folder_loads_as_an_imagefolder_with_every_column(refs, rated, tmp_path):
    config = BuildConfig(refs=refs, out=tmp_path / "out", source="custom", source_dir=rated, workers=0, limit=2)
    config = replace(config, mos_range=(1, 5), embedder="statistics", transfer="knn", k=2)
    build(config)
    render_build(config.out)
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(config.out), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = read_manifest(config.out)
    assert len(loaded) == len(rows) == 20
    wanted = rows.set_index(["reference", "dist_name", "dist_level"])
    for row in loaded:
        mine = wanted.loc[row["reference"], row["dist_name"], row["dist_level"]]
        assert row["mos"] == mine["mos"]
        assert row["mos_error"] == mine["mos_error"]
        pixels = read_photo(config.out / "shards" / "00000" / mine["file_name"]).pixels
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels)
