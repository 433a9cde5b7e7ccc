"""The whole build on small input: what comes out, the same bytes however it is run."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from glint_label import images
from glint_label.build.config import BuildConfig
from glint_label.build.estimate import estimate
from glint_label.build.pipeline import build
from glint_label.build.plan import make_plan
from glint_label.distortions import distort
from glint_label.embed.statistics import StatisticsPreparation
from glint_label.errors import SourceError, UsageError
from glint_label.images import read_photo
from glint_label.manifest import METADATA_COLUMNS, anchor_seeds, read_manifest, reference_id
from glint_label.manifest.inspect import summarise
from glint_label.sources import load_source
from glint_label.sources.kadid10k import DISTORTIONS
from glint_model.data.from_ratings import rated_rows
from glint_model.datasets import load_dataset
from glint_model.evaluation.evaluate import Regenerate
from tests.conftest import file_bytes, save_photos, save_rated


def test_every_reference_gets_every_cell(config):
    report = build(config)
    rows = read_manifest(config.out)
    assert report.counts == {"references": 7, "abstained": 0, "excluded": 0, "failed": 0, "rows": 70, "shards": 1}
    assert list(rows.columns) == [*METADATA_COLUMNS, "shard"]
    assert rows["reference"].tolist() == [
        name for name in ("a.jpg", "b.png", "c.webp", "d.bmp", "e.tiff", "sub/f.png", "sub/g.png") for _ in range(10)
    ]
    first = rows.iloc[0]
    assert first["file_name"] == f"{reference_id('a.jpg')}_01_1.png"
    assert (first["dist_name"], first["dist_type"], first["dist_level"]) == ("gaussian_blur", 1, 1)
    assert rows["mos"].between(1, 5).all()
    assert (rows["mos_error"] > 0).all()
    assert not rows.duplicated(["reference_id", "dist_type", "dist_level"]).any()
    assert not rows["seed"].duplicated().any()
    assert rows["seed"].between(0, 2**53 - 1).all()
    assert summarise(config.out)["problems"] == []


def test_labels_are_those_of_the_named_neighbours(config):
    build(config)
    references = pd.read_csv(config.out / "references.csv")
    rows = read_manifest(config.out)
    ratings = pd.read_csv(config.source_dir / "ratings.csv")
    for reference in references.itertuples():
        chosen = [
            a for a, w in zip(json.loads(reference.neighbours), json.loads(reference.weights), strict=True) if w > 0
        ]
        mean = ratings[ratings["anchor"].isin(chosen)].groupby(["distortion", "level"])["mos"].mean()
        mine = rows[rows["reference_id"] == reference.reference_id].set_index(["dist_name", "dist_level"])["mos"]
        np.testing.assert_allclose(mine, mean.reindex(mine.index), atol=6e-5)
        assert (rows.loc[rows["reference_id"] == reference.reference_id, "anchor"] == chosen[0]).all()


@pytest.mark.slow
def test_workers_and_the_order_of_the_folder_change_nothing(config, many, tmp_path, monkeypatch):
    config = replace(config, refs=many)
    build(config)
    wanted = file_bytes(config.out)
    assert len([name for name in wanted if name.endswith("_SUCCESS.json")]) == 3
    together = replace(config, out=tmp_path / "workers2", workers=2)
    build(together)
    assert file_bytes(together.out) == wanted
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **options: ((a, b[::-1], c[::-1]) for a, b, c in walk(top, **options)))
    reversed_listing = replace(config, out=tmp_path / "reversed", workers=1)
    build(reversed_listing)
    assert file_bytes(reversed_listing.out) == wanted
    assert "z new\\x0aline.png" in set(read_manifest(config.out)["reference"])


def test_the_estimate_measures_on_one_thread_as_workers_do(config):
    plan = make_plan(replace(config, workers=2))
    threads = []

    class Watching(StatisticsPreparation):
        def __call__(self, pixels):
            threads.append(torch.get_num_threads())
            return super().__call__(pixels)

    plan.embedder.preparation = Watching()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        estimate(plan)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}
    assert after == 2


def test_distortions_that_cannot_be_made_are_left_out_and_named(config, tmp_path):
    rated = save_rated(tmp_path / "exotic", distortions=("gaussian_blur", "gamma_rays"))
    report = build(replace(config, source_dir=rated))
    assert report.left_out == ("gamma_rays",)
    assert set(read_manifest(config.out)["dist_name"]) == {"gaussian_blur"}
    assert "gamma_rays" in (config.out / "README.md").read_text()
    only_exotic = save_rated(tmp_path / "more", distortions=("gamma_rays",))
    with pytest.raises(SourceError, match=r"none of its distortions \(gamma_rays, \.\.\.\) can be made here"):
        build(replace(config, source_dir=only_exotic, out=tmp_path / "none"))


@pytest.mark.parametrize(
    "change",
    [
        {"k": 0},
        {"embedder": "vgg"},
        {"embedder": "file:"},
        {"transfer": "magic"},
        {"source": "koniq"},
        {"images": "jpeg"},
        {"limit": 0},
        {"workers": -1},
    ],
)
def test_options_that_do_not_exist_are_refused_before_any_work(config, change):
    with pytest.raises(UsageError):
        replace(config, **change)


def test_seeds_depend_on_name_and_seed_alone(config, tmp_path):
    build(config)
    alone = save_photos(tmp_path / "alone", ["sub/g.png"])
    build(replace(config, refs=alone, out=tmp_path / "alone-out"))
    together = read_manifest(config.out)
    mine = together.loc[together["reference"] == "sub/g.png", "seed"].tolist()
    assert read_manifest(tmp_path / "alone-out")["seed"].tolist() == mine
    build(replace(config, seed=1, out=tmp_path / "seed1"))
    assert not set(read_manifest(tmp_path / "seed1")["seed"]) & set(together["seed"])


@pytest.mark.slow
def test_the_real_photos_are_all_labelled(shared, tmp_path):
    config = BuildConfig(
        refs=shared / "data" / "pristine",
        out=tmp_path / "out",
        source="kadid10k",
        source_dir=shared / "data" / "kadid10k",
        allow_missing_anchors=True,
        embedder="statistics",
        transfer="knn",
        workers=2,
    )
    report = build(config)
    rows = read_manifest(config.out)
    conditions = [(name, level) for name in DISTORTIONS for level in range(1, 6)]
    made = list(zip(rows["dist_name"][: len(conditions)], rows["dist_level"][: len(conditions)], strict=True))
    assert report.counts["references"] == 104
    assert report.missing_anchors == ("I04",)
    assert len(rows) == 104 * len(made)
    assert made == [condition for condition in conditions if condition in set(made)]
    run = json.loads((config.out / "run.json").read_text())
    assert run["missing_anchors"] == ["I04"]
    assert run["config"]["references"]["count"] == 104


@pytest.mark.slow
def test_visibility_changes_labels_and_workers_do_not(seeing, tmp_path):
    build(seeing)
    wanted = file_bytes(seeing.out)
    assert "shards/00000/features.npz" in wanted
    assert "audit.json" in wanted
    other = replace(seeing, out=tmp_path / "workers", workers=2)
    build(other)
    assert file_bytes(other.out) == wanted
    blind = replace(seeing, out=tmp_path / "blind", transfer="gp-content")
    build(blind)
    assert not list(blind.out.rglob("features.npz"))
    mine, theirs = read_manifest(seeing.out)["mos"], read_manifest(blind.out)["mos"]
    assert (mine != theirs).any()
    np.testing.assert_allclose(mine, theirs, atol=1)


def test_the_card_tells_how_good_the_labels_are(seeing):
    build(seeing)
    card = (seeing.out / "README.md").read_text()
    assert "## How good the labels are" in card
    audit = json.loads((seeing.out / "audit.json").read_text())
    figures = {row["transfer"]: row for row in audit["rows"]}
    assert f"| **gp** | {figures['gp']['srocc_within']:.3f} | {figures['gp']['srocc']:.3f}" in card
    assert {"top1", "cell-mean", "oracle", "noise-ceiling"} <= set(figures)


def test_too_few_anchors_for_an_audit_still_give_labels(config, tmp_path):
    few = replace(config, source_dir=save_rated(tmp_path / "few", anchors=2), transfer="cell-mean")
    build(few)
    assert not (few.out / "audit.json").exists()
    assert "How good the labels are" not in (few.out / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("transfer", "embedder"), [("knn", "statistics"), ("gp", "statistics"), ("knn", "resnet101")])
def test_a_photo_is_decoded_once_to_be_measured_and_once_more_for_its_pixels(
    config, transfer, embedder, monkeypatch, tmp_path
):
    weights = tmp_path / "resnet.safetensors"
    if embedder == "resnet101":
        save_file(timm.create_model("resnet101", num_classes=0).state_dict(), weights)
    decoded: Counter[str] = Counter()
    decode = images._decode

    def count(content: bytes, path: str):
        decoded[Path(path).name] += 1
        return decode(content, path)

    monkeypatch.setattr(images, "_decode", count)
    config = replace(config, transfer=transfer, embedder=embedder, resnet_weights=weights)
    build(config)
    photos = [path for folder in (config.refs, config.source_dir / "anchors") for path in folder.rglob("*.*")]
    assert set(decoded) == {path.name for path in photos}
    assert set(decoded.values()) == {1}
    decoded.clear()
    build(replace(config, images="png", out=tmp_path / "pixels"))
    assert {decoded[path.name] for path in config.refs.rglob("*.*") if path.is_file()} == {2}


def test_one_photo_has_one_seed_wherever_it_is_asked_for(config, rated):
    """In a build of the anchors' folder, in fine-tuning, in evaluation and in the audit."""
    build(replace(config, refs=rated / "anchors"))
    rows = read_manifest(config.out).set_index(["reference", "dist_name", "dist_level"])["seed"]
    source = load_source("custom", rated, mos_range=(1, 5))
    wanted = {
        (source.reference(anchor), *condition): seed
        for anchor, seeds in anchor_seeds(source, 0, source.conditions).items()
        for condition, seed in zip(source.conditions, seeds, strict=True)
    }
    assert rows.to_dict() == wanted
    data = rated_rows(load_dataset("custom", rated), seed=0)
    trained = {
        (part.photos[part.photo[row]].name, *part.conditions[part.condition[row]]): int(part.seed[row])
        for part in (data.train, data.val)
        for row in range(len(part))
    }
    assert trained == wanted
    pixels = Regenerate(source, 0)(("anchors/a0.png", "lens_blur", [(0, 2)]))[0][1]
    photo = read_photo(rated / "anchors" / "a0.png").pixels
    np.testing.assert_array_equal(pixels, distort(photo, "lens_blur", 2, wanted["a0.png", "lens_blur", 2]))
