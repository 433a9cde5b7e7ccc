"""Every export, read again by the program that it is for: the same labels and pixels, row by row."""

import io
import json
import shutil
import struct
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glint_label.export import FORMATS, export_build
from glint_label.images import read_photo
from glint_label.manifest import METADATA_COLUMNS, Selection
from glint_label.render import render_build

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the other programs, which leave files open
LABELS = [name for name in METADATA_COLUMNS if name != "file_name"]


def same_row(row, wanted: pd.Series) -> None:
    """Compare the labels of a row; a path may have been written in another way."""
    for name in LABELS:
        found, expected = row[name], wanted[name]
        if name in ("reference", "anchor"):
            found, expected = PurePosixPath(found), PurePosixPath(expected)
        assert found == expected, name


@pytest.fixture(params=["hf", "imagefolder"])
def hub(request, built, tmp_path) -> Path:
    export_build(built, request.param, tmp_path / "out", images="webp" if request.param == "hf" else "png")
    return tmp_path / "out"


def test_datasets_loads_labels_and_pixels(hub, wanted, pixels, tmp_path):
    from datasets import load_dataset

    loaded = load_dataset(str(hub), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 20, "validation": 10}
    for rows in loaded.values():
        order = []
        for row in rows:
            key = f"{row['reference_id']}_{row['dist_type']:02d}_{row['dist_level']}"
            same_row(row, wanted.loc[key])
            np.testing.assert_array_equal(np.asarray(row["image"].convert("RGB")), pixels[key])
            order.append(key)
        assert order == [key for key in wanted.index if key in set(order)]


def test_datasets_loads_labels_alone(built, wanted, tmp_path):
    from datasets import load_dataset

    export_build(built, "hf", tmp_path / "out", selection=Selection(splits=("train",)))
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    table = loaded["train"].to_pandas().set_index("file_name")
    expected = wanted[wanted["split"] == "train"].drop(columns="shard").set_index("file_name")
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, check_index_type=False)


@pytest.mark.parametrize("images", [pytest.param("none", marks=pytest.mark.slow), "png"])
def test_webdataset_reads_the_tars(built, wanted, pixels, tmp_path, images):
    import webdataset

    export_build(built, "webdataset", tmp_path / "out", images=images)
    files = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert [Path(file).name for file in files] == ["train-00000.tar", "val-00000.tar"]
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("rgb8"))
    assert sorted(sample["__key__"] for sample in samples) == sorted(wanted.index)
    for sample in samples:
        same_row(sample["json"], wanted.loc[sample["__key__"]])
        if images != "none":
            np.testing.assert_array_equal(sample["png"], pixels[sample["__key__"]])


def test_a_tar_is_the_same_bytes_whether_images_are_found_or_made(built, config, tmp_path):
    export_build(built, "webdataset", tmp_path / "made", images="png")
    copy = shutil.copytree(built, tmp_path / "copy")
    assert render_build(copy, selection=Selection(distortions=("lens_blur",))).written == 15
    damaged = next(copy.rglob("*_02_1.png"))
    damaged.write_bytes(damaged.read_bytes()[:500])
    export_build(copy, "webdataset", tmp_path / "found", images="png")
    for name in ("train-00000.tar", "val-00000.tar"):
        assert (tmp_path / "found" / name).read_bytes() == (tmp_path / "made" / name).read_bytes()


def read_mds(path: Path) -> list[dict[str, object]]:
    """Read an MDS file by the description in its own beginning."""
    content = path.read_bytes()
    (samples,) = struct.unpack_from("<I", content)
    offsets = struct.unpack_from(f"<{samples + 1}I", content, 4)
    described = json.loads(content[4 * (samples + 2) : offsets[0]])
    decode = {
        "str": bytes.decode,
        "int": lambda raw: struct.unpack("<q", raw)[0],
        "float64": lambda raw: struct.unpack("<d", raw)[0],
        "png": lambda raw: np.asarray(Image.open(io.BytesIO(raw))),
    }
    rows = []
    for start in offsets[:-1]:
        free = [size for size in described["column_sizes"] if size is None]
        lengths = iter(struct.unpack_from(f"<{len(free)}I", content, start))
        place, row = start + 4 * len(free), {}
        for name, encoding, size in zip(
            described["column_names"], described["column_encodings"], described["column_sizes"], strict=True
        ):
            end = place + (size or next(lengths))
            row[name] = decode[encoding](content[place:end])
            place = end
        rows.append(row)
    return rows


def test_mds_files_hold_every_row(built, wanted, pixels, tmp_path):
    export_build(built, "streaming", tmp_path / "out", images="png")
    seen = 0
    for split in ("train", "val"):
        index = json.loads((tmp_path / "out" / split / "index.json").read_text())
        for shard in index["shards"]:
            path = tmp_path / "out" / split / shard["raw_data"]["basename"]
            assert path.stat().st_size == shard["raw_data"]["bytes"]
            rows = read_mds(path)
            assert len(rows) == shard["samples"]
            for row in rows:
                key = row["file_name"].removesuffix(".png")
                same_row(row, wanted.loc[key])
                np.testing.assert_array_equal(row["image"], pixels[key])
            seen += len(rows)
    assert seen == len(wanted)


def test_streaming_reads_the_mds_files(built, wanted, pixels, tmp_path):
    streaming = pytest.importorskip("streaming", reason="mosaicml-streaming is not installed")

    export_build(built, "streaming", tmp_path / "out", images="png")
    keys = []
    for split in ("train", "val"):
        rows = streaming.StreamingDataset(local=str(tmp_path / "out"), split=split, batch_size=1)
        for number in range(len(rows)):
            row = rows[number]
            key = row["file_name"].removesuffix(".png")
            same_row(row, wanted.loc[key])
            np.testing.assert_array_equal(np.asarray(row["image"]), pixels[key])
            keys.append(key)
    assert sorted(keys) == sorted(wanted.index)


def test_pyiqa_finds_columns_where_it_looks_for_them(built, config, wanted, pixels, tmp_path):
    """As its readers do: names by position and below a root, the split by a column of that name."""
    out = tmp_path / "out"
    export_build(built, "pyiqa", out, images="png")
    table = pd.read_csv(out / "meta_info_nr.csv")
    assert [name for name in table.columns if "split" in name] == ["split"]
    assert len(table) == len(wanted)
    for values, split in zip(table.values.tolist(), table["split"], strict=True):
        key = Path(values[0]).stem
        assert (float(values[1]), split) == (wanted.loc[key, "mos"], wanted.loc[key, "split"])
        np.testing.assert_array_equal(read_photo(out / values[0]).pixels, pixels[key])
    for values in pd.read_csv(out / "meta_info_fr.csv").values.tolist():
        key = Path(values[1]).stem
        assert float(values[2]) == wanted.loc[key, "mos"]
        pristine = read_photo(config.refs / wanted.loc[key, "reference"]).pixels
        np.testing.assert_array_equal(read_photo(out / values[0]).pixels, pristine)
        assert (out / values[1]).is_file()


def test_pyiqa_without_pixels_names_those_that_render_makes(built, wanted, tmp_path):
    export_build(built, "pyiqa", tmp_path / "out")
    names = pd.read_csv(tmp_path / "out" / "meta_info_nr.csv")["img_name"]
    assert names.tolist() == [f"shards/00000/{name}" for name in wanted["file_name"]]
    assert not (tmp_path / "out" / "meta_info_fr.csv").exists()


def test_glintiqa_reads_labels_similarities_and_images(built, wanted, pixels, tmp_path):
    """As the released loader does: images by their bare names, taken apart at the underscores."""
    out = tmp_path / "out"
    export_build(built, "glintiqa", out, images="bmp")
    images = {path.name: path for path in (out / "images").rglob("*.bmp")}
    similar = pd.read_csv(out / "similarity.csv")
    assert set(similar["kadid-10k"]) <= {f"I{number:02d}.png" for number in range(1, 82)}
    (labels,) = sorted((out / "labels").glob("*.csv"))
    assert labels.name == "labels_batch_0001.csv"
    table = pd.read_csv(labels)
    assert len(table) == len(wanted)
    for row in table.itertuples():
        photo, kind, level = Path(row.distorted_image).stem.rsplit("_", 2)
        assert f"{photo}.png" in set(similar["kadis"])
        key = f"{photo}_{kind}_{int(level)}"
        assert row.quality_score == pytest.approx(9 * (wanted.loc[key, "mos"] - 1) / 4, abs=5e-5)
        assert (row.distortion_type, row.distortion_level) == tuple(wanted.loc[key, ["dist_type", "dist_level"]])
        np.testing.assert_array_equal(read_photo(images[Path(row.distorted_image).name]).pixels, pixels[key])
    before = pd.read_csv(out / "labels_first_release" / "dataset_001.csv")
    assert before["dist_img"].tolist() == table["distorted_image"].tolist()
    assert before["label"].tolist() == table["quality_score"].tolist()


def test_mlcroissant_validates_and_reads_the_labels(built, wanted, tmp_path):
    import mlcroissant

    export_build(built, "croissant", tmp_path / "out")
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    described = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert described["rai:hasSyntheticData"] is True
    assert "transferred, not rated" in dataset.metadata.data_annotation_protocol[0]
    rows = list(dataset.records(record_set="images"))
    assert len(rows) == len(wanted)
    for row, expected in zip(rows, wanted.itertuples(), strict=True):
        plain = {
            name.removeprefix("images/"): value.decode() if isinstance(value, bytes) else value
            for name, value in row.items()
        }
        same_row(plain, wanted.loc[expected.Index])
    photos = list(dataset.records(record_set="references"))
    assert len(photos) == wanted["reference"].nunique()


@pytest.mark.slow  # those in docs/export.md are run by the quick tests
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("streaming", "pyiqa", "glintiqa")])
def test_the_lines_in_its_readme_load_an_export(built, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    export_build(built, name, tmp_path / "out", images=FORMATS[name].images[-1])
    text = (tmp_path / "out" / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0].replace("FOLDER", str(tmp_path / "out"))
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("name", "images"), [("imagefolder", "png"), ("pyiqa", "none"), ("glintiqa", "none"), ("croissant", "none")]
)
def test_no_cell_of_a_table_begins_like_a_formula(built, tmp_path, name, images):
    export_build(built, name, tmp_path / "out", images=images)
    tables = list((tmp_path / "out").rglob("*.csv"))
    assert tables
    for table in tables:
        cells = pd.read_csv(table, dtype=str, keep_default_na=False).stack()
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and not is_number(cell)]


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
