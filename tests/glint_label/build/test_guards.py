"""What must not leak: near-duplicates, excluded images, anchors held out."""

from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from glint_label.build.pipeline import build
from glint_label.errors import InputError, StateError
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import summarise
from tests.conftest import file_bytes, make_photo, save_photos
from tests.glint_label.build.conftest import break_photo


def test_dissimilar_references_get_no_labels_and_are_counted(config):
    Image.fromarray(make_photo(0)).save(config.refs / "copy of an anchor.png")
    report = build(replace(config, min_similarity=0.95))
    assert report.counts["abstained"] >= 1
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False)
    abstained = references[references["weights"] == "[]"]
    assert len(abstained) == report.counts["abstained"]
    assert set(abstained["split"]) == {""}
    rows = read_manifest(config.out)
    assert not set(rows["reference_id"]) & set(abstained["reference_id"])
    copy = references.set_index("reference").loc["copy of an anchor.png"]
    assert copy["near_duplicate_of"] == "anchor:anchors/a0.png"
    assert (rows["similarity"] >= 0.95).all()


def test_near_duplicates_share_a_split(config, tmp_path):
    refs = save_photos(tmp_path / "pairs", [f"{number:02d}.png" for number in range(70)])
    for number in range(70):
        Image.open(refs / f"{number:02d}.png").save(refs / f"copy{number:02d}.jpg", quality=98)
    build(replace(config, refs=refs))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    assert (references["near_duplicate_of"] != "").sum() >= 60
    for name, row in references.iterrows():
        if row["near_duplicate_of"] and not row["near_duplicate_of"].startswith("anchor:"):
            assert row["split"] == references.loc[row["near_duplicate_of"], "split"], name
    assert set(references["split"]) == {"train", "val"}


def test_copies_in_other_shards_share_a_group_and_a_split(config, tmp_path):
    refs = save_photos(tmp_path / "originals", [f"{number:03d}.png" for number in range(130)])
    for number in range(0, 40, 4):
        photo = Image.open(refs / f"{number:03d}.png")
        half = photo.resize((photo.width * 9 // 10, photo.height * 9 // 10), Image.Resampling.LANCZOS)
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(refs / f"m{number:03d}.png")
        half.save(refs / f"s{number:03d}.webp", quality=80)
        photo.save(refs / f"q{number:03d}.jpg", quality=50)
    build(replace(config, refs=refs))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    for name in [name for name in references.index if not name[0].isdigit()]:
        original = references.loc[f"{name[1:4]}.png"]
        assert references.loc[name, "near_duplicate_of"] == f"{name[1:4]}.png"
        assert references.loc[name, "split"] == original["split"]
        assert references.loc[name, "shard"] != original["shard"]
    alone = references[references.index.str[0].str.isdigit()]
    assert (alone["near_duplicate_of"] == "").all()


@pytest.mark.slow
def test_near_duplicates_of_excluded_images_get_no_labels(config, benchmark_images, tmp_path):
    Image.open(config.refs / "c.webp").save(config.refs / "again.jpg", quality=90)
    guarded = replace(config, exclude_near=benchmark_images)
    report = build(guarded)
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    dropped = {"again.jpg": "excluded:other.png", "c.webp": "excluded:other.png", "sub/f.png": "excluded:sub/seen.jpg"}
    assert references.loc[references["weights"] == "[]", "near_duplicate_of"].to_dict() == dropped
    assert report.counts == {"references": 8, "abstained": 0, "excluded": 3, "failed": 0, "rows": 50, "shards": 1}
    assert not set(read_manifest(config.out)["reference"]) & set(dropped)
    figures = summarise(config.out)
    assert figures["problems"] == []
    assert {row["reference"]: row["of"] for row in figures["near_duplicates"]} == dropped
    assert "3 excluded" in (config.out / "README.md").read_text()
    again = replace(guarded, out=tmp_path / "again", workers=2)
    build(again)
    assert file_bytes(again.out) == file_bytes(config.out)


def test_excluded_images_are_part_of_the_settings(config, benchmark_images):
    build(replace(config, exclude_near=benchmark_images))
    with pytest.raises(StateError, match="exclude_near"):
        build(config)
    Image.fromarray(make_photo(1000)).save(benchmark_images / "stranger.png")
    with pytest.raises(StateError, match=r"exclude_near\.sha256"):
        build(replace(config, exclude_near=benchmark_images))


def test_an_excluded_image_that_does_not_open_is_a_hole_and_an_error(config, benchmark_images):
    break_photo(benchmark_images / "other.png")
    with pytest.raises(InputError, match=r"other\.png: does not open \(truncated.* its copies cannot be found"):
        build(replace(config, exclude_near=benchmark_images))


def test_copies_of_held_out_anchors_are_named_and_labelled_from_the_others(config):
    photo = Image.open(config.source_dir / "anchors" / "a1.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(config.refs / "a copy.png")
    build(replace(config, exclude_anchors=("anchors/a1.png",)))
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    copy = references.loc["a copy.png"]
    assert copy["near_duplicate_of"] == "anchor:anchors/a1.png"
    assert "anchors/a1.png" not in copy["neighbours"]
    assert len(read_manifest(config.out).query("reference == 'a copy.png'")) == 10


def test_a_held_out_anchor_among_the_excluded_images_gets_no_labels(config):
    Image.open(config.source_dir / "anchors" / "a1.png").save(config.refs / "a copy.png")
    anchors = config.source_dir / "anchors"
    report = build(replace(config, exclude_anchors=("anchors/a1.png",), exclude_near=anchors))
    assert report.counts["excluded"] == 1
    references = pd.read_csv(config.out / "references.csv", keep_default_na=False).set_index("reference")
    assert references.loc["a copy.png", "near_duplicate_of"] == "excluded:a1.png"
