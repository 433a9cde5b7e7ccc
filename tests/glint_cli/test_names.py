"""Whatever a file system can hold as a name goes through every command, and comes back."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from glint_cli.main import main
from glint_cli.score import to_csv, to_json
from glint_label.errors import InputError, StateError
from glint_label.files import format_json
from glint_label.images import read_photo
from glint_label.manifest import pixel_path, read_manifest, reference_path
from glint_label.names import as_text, from_text
from glint_model.data.from_manifest import read_manifest_rows
from glint_model.evaluation.score import list_inputs, score_files
from tests.conftest import make_photo, save_rated

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs a file system that takes any bytes")

NAMES = [
    b"carriage\rreturn.png",
    b"new\nline.png",
    b"\r\n.png",
    b"back\\slash.png",
    b"looks\\x0descaped.png",
    b"latin-\xe9.png",
    b"\xff\xfe.png",
    b'"quoted".png',
    b"'single'.png",
    b" leading.png",
    b"trailing .png",
    b"comma,semi;tab\t.png",
    b"#hash.png",
    b"100%.png",
    b"%20.png",
    b"-dash.png",
    b"--out.png",
    b"=1+1.png",
    b"NA.png",
    b"nan.png",
    b"1.0.png",
    b"metadata.csv/a.png",
    b"x.png/y.png",
    b"bell\x07escape\x1b.png",
    "next\x85line\u2028.png".encode(),
    "\ufeffbom.png".encode(),
    "e\u0301 \u00e9 \U0001f600.png".encode(),
    b"$HOME `id` *?[a].png",
    b"a" * 250 + b".png",
    b"\xe9 folder/\n/b.png",
]
PART = st.binary(min_size=1, max_size=30).filter(lambda part: not set(part) & {0, 47} and part[:1] != b".")


def save(root: Path, names: list[bytes]) -> Path:
    for seed, name in enumerate(names):
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_photo(seed, 72, 66)).save(path, "PNG")
    return root


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def check_everything(folder: Path, names: list[bytes]) -> None:
    """Build, inspect, render, read to train on, score; each photo comes back by the name that it was given."""
    refs = save(folder / os.fsdecode(b"photos \xe9\\"), names)
    paths = {refs / os.fsdecode(name) for name in names}
    rated, out = save_rated(folder / "rated", anchors=3, distortions=["gaussian_blur"]), folder / "out"
    options = ["--source", "custom", "--source-dir", rated, "--mos-range", "1", "5", "--embedder", "statistics"]
    options += ["--transfer", "knn", "--k", "1", "--workers", "0", "--refs", refs, "--out", out]
    assert f"{5 * len(names)} rows for {len(names)} photos" in run("build", *options)
    assert "of them finished before" in run("build", *options)
    figures = json.loads(run("inspect", out, "--json"))
    assert (figures["problems"], figures["references"]) == ([], len(names))
    run("inspect", out)
    run("render", out, "--levels", "5", "--workers", "0")
    rows = read_manifest(out)
    assert {reference_path(refs, name) for name in rows["reference"]} == paths
    assert sum((out / "shards" / "00000" / name).is_file() for name in rows["file_name"]) == len(names)
    data = read_manifest_rows(out)
    assert set(data.train.photos) | set(data.val.photos) == paths
    for path, sha256 in zip(data.train.photos, data.train.sha256, strict=True):
        assert read_photo(path, sha256).sha256 == sha256
    (refs / "broken.png").touch()
    scored = score_files(list_inputs([refs]), lambda pixels: float(pixels.mean()))
    read_back = [
        list(csv.DictReader(io.StringIO(to_csv(scored).encode().decode(), newline=""))),
        json.loads(to_json(scored, plain=False).encode()),
    ]
    for found in read_back:
        assert {Path(from_text(row["file_name"])) for row in found} == {*paths, refs / "broken.png"}
        assert [bool(row["error"]) for row in found] == ["broken.png" in row["file_name"] for row in found]


def test_every_known_trap_goes_through_every_command(tmp_path):
    check_everything(tmp_path, NAMES)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.sets(st.lists(PART, min_size=1, max_size=3).map(tuple), min_size=12, max_size=16))
def test_any_name_goes_through_every_command(tmp_path, parts):
    folder = tmp_path / "x"
    shutil.rmtree(folder, ignore_errors=True)
    names = [b"/".join((b"%d" % number, *part)) + b".png" for number, part in enumerate(sorted(parts))]
    check_everything(folder, names)


@settings(deadline=None)
@given(parts=st.lists(PART, min_size=1, max_size=4))
def test_a_name_is_one_line_of_text_and_comes_back(parts):
    path = os.fsdecode(b"/".join(parts))
    text = as_text(path)
    text.encode()
    assert len(text.splitlines()) == 1
    assert from_text(text) == path
    if path.isascii() and path.isprintable() and "\\" not in path:
        assert text == path


@pytest.mark.parametrize("text", ["a\\b.png", "\\x41.png", "\\x0D.png", "\r", "x\\", "\\xc3\\xa9"])
def test_text_that_is_no_name_is_refused(text):
    with pytest.raises(InputError, match="no name of a file"):
        from_text(text)


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a/../../x.png", "\\x00.png", ".."])
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    with pytest.raises(InputError, match="leads out"):
        reference_path(tmp_path, name)


@pytest.mark.parametrize("name", ["n" * 300, "\N{SNOWMAN}" * 90 + ".png", "a/" * 2500 + "x.png"])
def test_a_name_that_no_file_can_have_is_refused_before_a_disk_is_asked(tmp_path, name):
    with pytest.raises(InputError, match="longer than the name of any file"):
        reference_path(tmp_path, name)
    with pytest.raises(StateError, match="is too long; refused"):
        pixel_path(tmp_path, name)


def test_json_keeps_paths_that_are_no_utf8():
    path = os.fsdecode(b"\xe9\\\xff\xc3\xa9")
    assert json.loads(format_json({"refs": path}).encode()) == {"refs": path}


def test_an_error_about_any_name_can_be_written(tmp_path):
    (tmp_path / os.fsdecode(b"\xff\n.png")).touch()
    assert np.isnan(score_files(list_inputs([tmp_path]), lambda pixels: 0.0)[0].score)
    refs = str(tmp_path / os.fsdecode(b"\xff"))
    output = CliRunner().invoke(main, ["build", "--refs", refs, "--source", "kadid10k"])
    assert output.exit_code == 3
    assert "\\xff: no such folder" in output.stderr
