"""What reads a build takes one in a bucket, photos and all: render, export, the report, training, audit."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from glint_cli.main import main
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import StateError, UsageError
from glint_label.export import export_build
from glint_label.export.formats import FORMATS
from glint_label.folders import lock_folder
from glint_label.images import read_photo
from glint_label.render import render_build
from glint_model.data.from_manifest import read_manifest_rows
from tests.conftest import custom_build, file_bytes, save_photos, save_rated
from tests.glint_label.storage.conftest import object_bytes, upload

NAMES = ["17.png", "18.png", "a.png", "sub/ü.png"]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> BuildConfig:
    """Four photos; two distortions, five levels."""
    folder = tmp_path_factory.mktemp("readers")
    refs = save_photos(folder / "refs", NAMES)
    config = custom_build(refs, save_rated(folder / "rated"), folder / "build", transfer="knn")
    build(config)
    return config


@pytest.fixture
def stored(config, bucket) -> BuildConfig:
    """The same build, made on a disk and carried into the bucket, photos and all."""
    refs, rated = upload(config.refs, bucket / "photos"), upload(config.source_dir, bucket / "rated")
    return replace(config, refs=refs, source_dir=rated, out=upload(config.out, bucket / "build"))


def options(to: str) -> dict[str, str]:
    return {"images": "png" if "png" in FORMATS[to].images else FORMATS[to].images[-1]}


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMATS)
def test_an_export_from_a_bucket_into_it_has_the_bytes_of_one_on_a_disk(config, stored, tmp_path, bucket, to):
    if to == "hf":
        pytest.importorskip("pyarrow")
    export_build(config.out, to, tmp_path / "export", **options(to))
    made = export_build(stored.out, to, bucket / "export", refs=stored.refs, **options(to))
    assert object_bytes(bucket / "export") == file_bytes(tmp_path / "export")
    again = export_build(stored.out, to, bucket / "export", refs=stored.refs, **options(to))
    assert (again.rows, again.kept) == (made.rows, made.rows)
    table = next(name for name in bucket.sizes("export/") if name.endswith(("README.md", ".csv")))
    (bucket / table).write_bytes(b"damaged")
    export_build(stored.out, to, bucket / "export", refs=stored.refs, **options(to))
    assert object_bytes(bucket / "export") == file_bytes(tmp_path / "export")


def test_an_export_stays_out_of_the_build_and_the_photos(stored):
    for place in (stored.out / "export", stored.refs, stored.out.parent):
        with pytest.raises(UsageError, match="--out s3://"):
            export_build(stored.out, "glintiqa", place, refs=stored.refs)


@pytest.mark.slow
def test_rendered_images_are_those_of_a_disk_and_stay(config, stored):
    made = render_build(stored.out, stored.refs)
    local = render_build(config.out)
    assert (made.written, made.bytes) == (local.written, local.bytes) == (40, local.bytes)
    assert object_bytes(stored.out) == file_bytes(config.out)
    next((stored.out / "shards" / "00000").glob("*.png")).unlink()
    again = render_build(stored.out, stored.refs)
    assert (again.written, again.present) == (1, 39)
    with lock_folder(stored.out), pytest.raises(StateError, match="is writing here"):
        render_build(stored.out, stored.refs)


def test_training_reads_rows_and_photos(config, stored):
    data = read_manifest_rows(stored.out, stored.refs)
    local = read_manifest_rows(config.out)
    assert data.origin == local.origin
    assert (data.train.mos == local.train.mos).all()
    photo = read_photo(data.train.photos[0], data.train.sha256[0], data.train.size)
    assert (photo.pixels == read_photo(local.train.photos[0], size=local.train.size).pixels).all()


@pytest.mark.slow
def test_the_commands_take_addresses(config, stored, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    rated = ("--source", "custom", "--source-dir", stored.source_dir, "--mos-range", 1, 5)
    out = bucket / "again"
    labelled = ("--embedder", "statistics", "--transfer", "knn")
    printed = run("build", "--refs", stored.refs, *rated, *labelled, "--out", out)
    assert f"in {out}" in printed
    assert object_bytes(out).keys() == {name for name in object_bytes(stored.out) if not name.endswith(".png")}
    assert str(out) in run("inspect", out)
    run("inspect", out, "--html", bucket / "report.html", "--workers", 0)
    assert b"data:image/webp;base64," in (bucket / "report.html").read_bytes()
    run("audit", *rated, *labelled, "--out", bucket / "audit", "--workers", 0)
    assert {"audit.json", "audit.png"} <= (bucket / "audit").sizes().keys()
    run("export", out, "--to", "glintiqa", "--out", bucket / "export")
    run("build", "--dry-run", "--refs", stored.refs, *rated, "--embedder", "statistics", "--out", bucket / "none")
    run("pretrain", "--manifest", out, "--preset", "default-tiny", "--steps", 2, "--workers", 1, "--out", "run")
    assert not (bucket / "none").exists()
    scores = json.loads(run("score", stored.refs, "--json", "--workers", 0))
    assert [row["file_name"] for row in scores] == [str(stored.refs / name) for name in NAMES]
    assert all(row["score"] for row in scores)
    found = json.loads(
        run("evaluate", "--dataset", "custom", "--data-dir", stored.source_dir, "--pixels", "regenerate", "--json")
    )
    assert found["root"] == str(stored.source_dir)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
