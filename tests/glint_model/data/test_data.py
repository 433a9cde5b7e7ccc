"""Rows to batches: the pixels that `render` makes, whatever makes them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from glint_label.errors import InputError, StateError
from glint_label.images import read_photo
from glint_label.manifest import digest_of, read_manifest
from glint_label.render import render_build
from glint_model.data.batches import Recipe, iterate
from glint_model.data.from_manifest import read_manifest_rows
from glint_model.data.gpu import develop
from glint_model.data.rows import synthetic_rows
from glint_model.data.sampler import Sampler, draw_crops
from glint_model.network.crops import CROP, continued


def batches(recipe: Recipe, count: int = 3, workers: int = 0):
    return list(iterate(recipe, range(count), workers))


@pytest.fixture(scope="module")
def rows(manifest):
    return read_manifest_rows(manifest).train


def test_made_pixels_are_those_that_render_makes(manifest, rows, tmp_path_factory):
    render_build(manifest)
    drawn = read_manifest_rows(manifest, pixels="disk").train
    fly = batches(Recipe(rows, batch=10, group=5, crops=2, seed=1))
    disk = batches(Recipe(drawn, batch=10, group=5, crops=2, seed=1, pixels="disk"))
    for one, other in zip(fly, disk, strict=True):
        assert torch.equal(one.crops, other.crops)
        assert torch.equal(one.labels, other.labels)


def test_a_crop_is_cut_from_the_whole_distorted_image(manifest, rows):
    (batch,) = batches(Recipe(rows, batch=1, seed=5), count=1)
    row = int(Sampler(rows.photo, 1, 5).rows([0])[0])
    table = read_manifest(manifest)
    named = table[(table["split"] == "train")].iloc[row]
    file = manifest / "shards" / f"{named['shard']:05d}" / named["file_name"]
    if not file.is_file():
        render_build(manifest)
    crop = draw_crops(5, 0, 1)[0].cut(continued(read_photo(file).pixels), CROP)
    assert np.array_equal(batch.crops[0, 0].permute(1, 2, 0).numpy(), crop)
    assert batch.labels[0, 0] == pytest.approx(named["mos"])


def test_parts_of_a_batch_are_the_batch(rows):
    (whole,) = batches(Recipe(rows, batch=8, group=2, seed=1), count=1)
    parts = batches(Recipe(rows, batch=8, parts=4, group=2, seed=1), count=4)
    assert torch.equal(torch.cat([part.crops for part in parts]), whole.crops)
    assert torch.equal(torch.cat([part.labels for part in parts], dim=1), whole.labels)


@pytest.mark.slow
def test_a_gpu_makes_the_same_pixels_to_one_level():
    rows = synthetic_rows(3).train
    exact = batches(Recipe(rows, batch=20, group=5, crops=2, seed=1, synthetic=True))
    deferred = batches(Recipe(rows, batch=20, group=5, crops=2, seed=1, synthetic=True, defer=True))
    assert any(batch.deferred for batch in deferred)
    developed = develop(deferred, torch.device("cpu"))
    for one, other in zip(exact, developed, strict=True):
        assert one.crops.shape == other.crops.shape
        difference = (one.crops.int() - other.crops.int()).abs()
        assert (difference > 1).float().mean() < 1e-3  # a threshold may fall the other way in float32


def test_precise_labels_weigh_more_within_bounds(rows):
    std = np.full(len(rows), 0.5, dtype=np.float32)
    std[:3] = (0.01, 0.4, 100)
    weights = replace(rows, mos_error=std).weights()
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert weights[0] / weights[5] == pytest.approx(4, rel=1e-4)
    assert weights[1] > weights[5] > weights[2]
    assert weights[5] / weights[2] == pytest.approx(4, rel=1e-4)
    std[4] = np.nan
    assert (replace(rows, mos_error=std).weights() == 1).all()


def test_photos_that_lean_on_excluded_anchors_are_left_out(manifest):
    everything = read_manifest_rows(manifest)
    table = read_manifest(manifest)
    anchor = table["anchor"].iloc[0]
    kept = read_manifest_rows(manifest, exclude_anchors=[anchor])
    leaning = set(table.loc[table["anchor"] == anchor, "reference"])
    assert not leaning & {path.name for path in kept.train.photos}
    assert 0 < len(kept.train) < len(everything.train)
    with pytest.raises(InputError, match="no row is left"):
        read_manifest_rows(manifest, exclude_anchors=set(table["anchor"]))


def test_labels_that_rest_on_all_anchors_can_be_freed_of_one_by_the_build_alone(manifest):
    run = manifest / "run.json"
    before = run.read_text()
    settings = json.loads(before)
    settings["config"]["transfer"] = "gp"
    try:
        run.write_text(json.dumps({**settings, "config_sha256": digest_of(settings["config"])}))
        with pytest.raises(InputError, match="rest on all anchors; build again with --exclude-anchors a1"):
            read_manifest_rows(manifest, exclude_anchors=["a1"])
        with pytest.raises(InputError, match="build again with --exclude-anchors 'a 1,b'"):  # can be pasted
            read_manifest_rows(manifest, exclude_anchors=["b", "a 1"])
        with pytest.raises(StateError, match=r"was made with other settings than run\.json names"):
            read_manifest_rows(manifest)
        run.write_text(json.dumps(settings))
        with pytest.raises(StateError, match="its settings have been edited"):
            read_manifest_rows(manifest)
    finally:
        run.write_text(before)


def test_an_edited_table_of_references_cannot_let_held_out_anchors_back_in(manifest):
    table = manifest / "shards" / "00000" / "references.csv"
    before = table.read_text()
    try:
        table.write_text(before.replace("anchors/a1.png", "anchors/a2.png"))
        with pytest.raises(StateError, match=r"references\.csv: has changed since it was built"):
            read_manifest_rows(manifest, exclude_anchors=["anchors/a1.png"])
    finally:
        table.write_text(before)


def test_less_similar_photos_can_be_left_out(manifest):
    similarity = read_manifest(manifest)["similarity"]
    data = read_manifest_rows(manifest, min_similarity=similarity.median())
    assert len(data.train) + len(data.val) == (similarity >= similarity.median()).sum()


def test_validation_photos_are_not_trained_on(manifest):
    data = read_manifest_rows(manifest)
    assert len(data.val) > 0
    assert not set(data.train.photo) & set(data.val.photo)


@pytest.mark.slow
def test_workers_change_nothing(rows):
    recipe = Recipe(rows, batch=6, group=3, seed=2)
    for one, other in zip(batches(recipe), batches(recipe, workers=2), strict=True):
        assert torch.equal(one.crops, other.crops)
