"""A thousand damaged photos and a thousand hostile rows: no crash, no hang, nothing written outside the output."""

import csv
import io
import json
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from glint_cli.inspect import show
from glint_label.build.pipeline import build
from glint_label.errors import GlintError
from glint_label.export import export_build
from glint_label.manifest import digest_of, read_manifest
from glint_label.manifest.inspect import summarise
from glint_label.render import render_build
from glint_model.data.from_manifest import read_manifest_rows
from tests.conftest import custom_build, file_bytes, record_again, save_photos, save_rated
from tests.glint_label.test_damaged import mutate, samples

CELLS = (
    *(
        "",
        ".",
        "..",
        "../../x.png",
        "/etc/passwd",
        "\\x00",
        "C:\\x",
        "a\0b",
        "x\n.png",
        ".lock",
        "_SUCCESS.json",
        "x.exe",
    ),
    *("-1", "0", "6", "26", "1.5", "NaN", "inf", "1e400", "9" * 18, "9" * 400, "true", "null", "x" * 70_000),
    *("[", "[" * 3000, "{}", "[null]", '[1, "a"]', '"', "=1+1", "\x1b[31m", "\u202e", "train", "gaussian_blur"),
)
TABLES = ("metadata.csv",) * 4 + ("references.csv",) * 3 + ("failed.csv",)
JSON = ("run.json",) * 3 + ("audit.json", "shards/00000/_SUCCESS.json")


def changed_table(text: str, chance: random.Random) -> str:
    """Change up to three rows: a value, its length, a copy of another, none."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    for _ in range(chance.randint(1, 3)):
        place, how = chance.randrange(len(rows)), chance.randrange(8)
        if how < 5 and rows[place]:
            rows[place][chance.randrange(len(rows[place]))] = chance.choice(CELLS)
        elif how == 5:
            rows[place] = rows[place][: chance.randrange(len(rows[place]) + 1)]
        elif how == 6:
            rows.insert(place, list(chance.choice(rows)))
        elif len(rows) > 1:
            del rows[place]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def changed_json(value: object, chance: random.Random) -> object:
    """Change one value somewhere, or leave a key out."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: kept for name, kept in value.items() if name != key}
        return {**value, key: changed_json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], changed_json(value[place], chance), *value[place + 1 :]]
    deep: object = "x"
    for _ in range(300):
        deep = [deep]
    return chance.choice([None, True, -1, 0, 1e308, 10**30, "", "x", "../..", [], {}, [1, 2], {"a": 1}, deep])


def damage(out: Path, chance: random.Random) -> None:
    """Change a file as one who forges a manifest would: hashes agree with it."""
    shard = out / "shards" / "00000"
    if chance.random() < 0.7:
        path = shard / chance.choice(TABLES)
        path.write_text(changed_table(path.read_text(), chance))
        record_again(shard)
        return
    path = out / chance.choice(JSON)
    content = changed_json(json.loads(path.read_text()), chance)
    if path.name == "run.json" and isinstance(content, dict) and chance.random() < 0.7:
        record = json.loads((shard / "_SUCCESS.json").read_text())
        content["config_sha256"] = record["config_sha256"] = digest_of(content.get("config", {}))
        (shard / "_SUCCESS.json").write_text(json.dumps(record))
    path.write_text(json.dumps(content))


def check_manifests(root: Path, first: int, number: int) -> int:
    """Open changed manifests with every command that reads one; count those that were refused."""
    refs, rated = save_photos(root / "refs", ["a.png", "b.png"]), save_rated(root / "rated", 3, ["gaussian_blur"])
    (refs / "bad.png").touch()
    whole = custom_build(refs, rated, root / "whole", transfer="knn", k=2)
    build(whole)
    out, export = root / "out", root / "export"
    outside = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    refused = 0
    for seed in range(first, first + number):
        chance = random.Random(seed)
        for folder in (out, export):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole.out, out)
        damage(out, chance)
        form = chance.choice(["pyiqa", "glintiqa"])
        for act in (
            lambda: show(summarise(out)),
            lambda: read_manifest(out),
            lambda: render_build(out),
            lambda: read_manifest_rows(out),
            lambda form=form: export_build(out, form, export),
        ):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    act()
            except GlintError as error:
                assert str(error)  # noqa: PT017
                refused += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
    places = (out, export)
    left = {path for path in root.rglob("*") if path.is_file() and not any(map(path.is_relative_to, places))}
    assert left == set(outside)
    assert all(path.read_bytes() == content for path, content in outside.items())
    return refused


def test_changed_manifests_end_in_rows_or_in_one_line(tmp_path):
    assert 10 < check_manifests(tmp_path, 0, 12) < 60  # both ends are reached


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 2000, 250))
def test_a_thousand_changed_manifests_end_in_rows_or_in_one_line(tmp_path, first):
    check_manifests(tmp_path, first, 250)


@pytest.mark.slow
def test_a_thousand_damaged_photos_are_rows_or_failures_of_one_build(tmp_path):
    refs, rng, made = tmp_path / "refs", np.random.default_rng(5), samples()
    refs.mkdir()
    for number in range(1000):
        kind, content = made[number % len(made)]
        (refs / f"{number:04d}.{kind.lower()}").write_bytes(mutate(content, rng))
    rated, out = save_rated(tmp_path / "rated", 3, ["brighten"]), tmp_path / "out"
    before = file_bytes(refs)
    words = "build --source custom --mos-range 1 5 --embedder statistics --transfer knn --k 2 --workers 2"
    folders = ["--refs", refs, "--source-dir", rated, "--out", out]
    command = [sys.executable, "-m", "glint_cli.main", *words.split(), *map(str, folders)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads((out / "run.json").read_text())["counts"]
    assert counts["references"] + counts["failed"] == 1000
    assert min(counts["references"], counts["failed"]) > 100
    assert file_bytes(refs) == before
    assert {path.name for path in tmp_path.iterdir()} == {"refs", "rated", "out"}
    assert summarise(out)["problems"] == []
