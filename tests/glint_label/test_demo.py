"""The demo, and the example of its output that is committed."""

import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from glint_cli.main import main
from glint_label.manifest.inspect import summarise

pytestmark = pytest.mark.slow  # the whole main job

MANIFESTS = Path(__file__).parents[2] / "manifests"
# Labels are made of logarithms and exponentials, whose last bit depends on the processor: numbers with a fraction may
# differ a little from one machine to another, and then the hashes of their files do; nothing else may.
NUMBERS = re.compile(r"-?\d+\.\d+")
HASHES = re.compile(r'"bytes": \d+,\s+"sha256": "[0-9a-f]{64}"')


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder that the command makes, and what it prints."""
    out = tmp_path_factory.mktemp("manifests") / "demo"
    result = CliRunner().invoke(main, ["demo", "--out", str(out), "--workers", "2"])
    assert result.exit_code == 0, result.output
    return Demo(out, result.stdout)


class Demo(NamedTuple):
    out: Path
    output: str


def test_the_demo_ends_with_what_was_made_and_what_to_type_next(demo):
    for words in ("1,125 (", "Integrity: 1 shard complete", "What was made", "What to type next"):
        assert words in demo.output
    assert f"glint-label render {demo.out} --reference coffee.png --levels 5" in demo.output
    assert (demo.out.parent / "demo-photos" / "coffee.png").is_file()


def test_the_committed_example_is_what_the_demo_writes(demo):
    listing = ["git", "-C", MANIFESTS, "ls-files", "-z", "demo"]
    listed = subprocess.run(listing, check=False, capture_output=True, text=True).stdout
    committed = set(listed.split("\0")) - {"", "demo/run.json"}
    if not committed:
        pytest.skip("needs the git checkout")
    shard = "demo/shards/00000"
    record = json.loads((MANIFESTS / shard / "_SUCCESS.json").read_text())
    assert {f"{shard}/{name}" for name in record["files"]} <= committed
    for name in sorted(name for name in committed if not name.endswith(".npz")):
        made = (demo.out.parent / name).read_text()
        kept = (MANIFESTS / name).read_text()
        note = f"{name}: run `make demo` and commit what changed"
        assert HASHES.sub("", NUMBERS.sub("#", made)) == HASHES.sub("", NUMBERS.sub("#", kept)), note
        numbers = [[float(number) for number in NUMBERS.findall(text)] for text in (made, kept)]
        assert numbers[0] == pytest.approx(numbers[1], abs=2e-3), note


def test_the_demo_says_where_its_labels_come_from(demo):
    run = json.loads((demo.out / "run.json").read_text())
    assert run["config"]["ratings"] == "packaged label model"
    assert "model of human ratings" in run["ratings_note"]
    card = (demo.out / "README.md").read_text()
    assert run["ratings_note"] in card
    audit = json.loads((demo.out / "audit.json").read_text())
    srocc = {row["transfer"]: row["srocc"] for row in audit["rows"]}
    assert srocc["gp"] > srocc["cell-mean"] > srocc["top1"]
    assert f"{srocc['gp']:.3f}" in card


def test_the_demo_is_whole_and_flags_its_stereo_pair(demo):
    figures = summarise(demo.out)
    assert figures["problems"] == []
    assert figures["references"] == 9
    same = {row["reference"]: row["of"] for row in figures["near_duplicates"]}
    assert same == {"motorcycle_right.png": "motorcycle_left.png"}
