"""The output folder: only files that we wrote are ever deleted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from glint_label.build.folder import OWN_FILES
from glint_label.build.pipeline import build
from glint_label.errors import InputError, OutputError, StateError, UsageError
from glint_label.folders import delete_own
from glint_label.manifest import Selection
from glint_label.manifest.inspect import summarise
from glint_label.render import render_build


def test_an_output_among_the_photos_is_refused(config):
    with pytest.raises(UsageError, match="its images would be taken for photos"):
        build(replace(config, out=config.refs / "out"))


def test_overwrite_starts_again_and_touches_only_builds(config):
    build(config)
    (config.out / "shards" / "00007").mkdir()
    build(replace(config, k=3), overwrite=True)
    assert not (config.out / "shards" / "00007").exists()
    foreign = config.out.parent / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(StateError, match=r"holds files that no build made \(thesis\.tex\)"):
        build(replace(config, out=foreign), overwrite=True)
    assert (foreign / "thesis.tex").exists()


def test_an_output_that_cannot_be_a_folder_is_an_error(config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        build(replace(config, out=tmp_path / "file"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("[!.]*")) if path.is_file()}


@pytest.mark.parametrize(
    ("run_json", "words"),
    [
        ('{"kind": "training run", "identity": {}}', "is a training run, not a build"),
        ('{"experiment": 7}', "holds a run.json that is damaged or not of glint-label"),
        ("{", "holds a run.json that is damaged or not of glint-label"),
    ],
)
def test_a_folder_of_another_kind_is_named_and_left_alone(config, run_json, words):
    config.out.mkdir()
    (config.out / "run.json").write_text(run_json)
    (config.out / "best.safetensors").write_bytes(b"weeks of work")
    before = snapshot(config.out)
    for overwrite in (False, True):
        with pytest.raises(StateError, match=words):
            build(config, overwrite=overwrite)
    with pytest.raises(InputError, match=words.removesuffix(", not a build")):
        summarise(config.out)
    assert snapshot(config.out) == before


def test_overwrite_deletes_what_a_build_writes_and_nothing_else(config, benchmark_images):
    full = replace(config, images="png", transfer="gp", exclude_near=benchmark_images)
    build(full)
    made = {path.relative_to(config.out).as_posix() for path in config.out.rglob("*") if path.is_file()}
    (config.out / "notes.txt").write_text("mine")
    (config.out / "shards" / "00000" / "mine.png").write_text("mine")
    delete_own(config.out, OWN_FILES)
    left = {path.relative_to(config.out).as_posix() for path in config.out.rglob("*") if path.is_file()}
    assert left - {".lock"} == {"notes.txt", "shards/00000/mine.png"}
    assert {"watched/shards/00000/embeddings.npz", "shards/00000/features.npz", "audit.json"} <= made


def test_a_link_inside_is_removed_and_never_followed(config, tmp_path):
    build(config)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("metadata.csv", ".metadata.csv.1.glint-tmp"):
        (elsewhere / name).write_text("somebody else's")
    shutil.rmtree(config.out / "shards" / "00000")
    (config.out / "shards" / "00000").symlink_to(elsewhere)
    build(replace(config, k=3), overwrite=True)
    assert not (config.out / "shards" / "00000").is_symlink()
    assert len(list(elsewhere.iterdir())) == 2
    assert summarise(config.out)["problems"] == []


def test_a_build_keeps_every_call_and_warns_of_other_codecs(config, caplog):
    build(config, command=["glint-label", "build", "--refs", "my photos"])
    run_file = config.out / "run.json"
    run = json.loads(run_file.read_text())
    run["calls"][0]["versions"]["codecs"]["JPEG 2000 (OpenJPEG)"] = "2.0.0"
    run_file.write_text(json.dumps(run))
    build(config, command=["second"])
    assert "JPEG 2000 (OpenJPEG) 2.0.0 -> " in caplog.text
    calls = json.loads(run_file.read_text())["calls"]
    assert [call["command"] for call in calls] == ["glint-label build --refs 'my photos'", "second"]
    assert calls[0]["versions"]["codecs"]["JPEG 2000 (OpenJPEG)"] == "2.0.0"
    with pytest.raises(StateError, match="JPEG 2000"):
        build(config, strict=True)
    with pytest.raises(StateError, match="JPEG 2000"):
        render_build(config.out, strict=True)
    caplog.clear()
    render_build(config.out, selection=Selection(levels=(1,)))
    assert "JPEG 2000 (OpenJPEG) 2.0.0 -> " in caplog.text


def test_edited_settings_in_run_json_are_noticed(config):
    build(config)
    run_file = config.out / "run.json"
    run_file.write_text(run_file.read_text().replace('"exclude_anchors": []', '"exclude_anchors": ["anchors/a1.png"]'))
    with pytest.raises(StateError, match="its settings have been edited"):
        summarise(config.out)
