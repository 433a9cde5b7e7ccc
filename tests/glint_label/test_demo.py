"""The demo, and the example of its output that is committed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from glint_label.demo import run_demo
from glint_label.manifest.inspect import summarise

MANIFESTS = Path(__file__).parents[2] / "manifests"
# Labels are made of logarithms and exponentials, whose last bit depends on the processor: numbers with a fraction may
# differ a little from one machine to another, and then the hashes of their files do; nothing else may.
NUMBERS = re.compile(r"-?\d+\.\d+")
HASHES = re.compile(r'"(metadata|references)\.csv": "[0-9a-f]{64}"')


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("manifests") / "demo", workers=2)


def test_the_committed_example_is_what_the_demo_writes(demo):
    listing = ["git", "-C", MANIFESTS, "ls-files", "-z", "demo"]
    listed = subprocess.run(listing, check=False, capture_output=True, text=True).stdout
    committed = [name for name in listed.split("\0") if name and not name.endswith("run.json")]
    if not committed:
        pytest.skip("needs the git checkout")
    assert any(name.endswith("metadata.csv") for name in committed)
    for name in committed:
        made = (demo.report.out.parent / name).read_text()
        kept = (MANIFESTS / name).read_text()
        note = f"{name}: run `make demo` and commit what changed"
        assert HASHES.sub("", NUMBERS.sub("#", made)) == HASHES.sub("", NUMBERS.sub("#", kept)), note
        numbers = [[float(number) for number in NUMBERS.findall(text)] for text in (made, kept)]
        assert numbers[0] == pytest.approx(numbers[1], abs=2e-3), note


def test_the_demo_says_where_its_labels_come_from(demo):
    run = json.loads((demo.report.out / "run.json").read_text())
    assert run["config"]["ratings"] == "packaged label model"
    assert "model of human ratings" in run["ratings_note"]
    card = (demo.report.out / "README.md").read_text()
    assert run["ratings_note"] in card
    audit = json.loads((demo.report.out / "audit.json").read_text())
    srocc = {row["transfer"]: row["srocc"] for row in audit["rows"]}
    assert srocc["gp"] > srocc["cell-mean"] > srocc["top1"]
    assert f"{srocc['gp']:.3f}" in card


def test_the_demo_is_whole_and_flags_its_stereo_pair(demo):
    figures = summarise(demo.report.out)
    assert figures["problems"] == []
    assert figures["references"] == 9
    same = {row["reference"]: row["of"] for row in figures["near_duplicates"]}
    assert same == {"motorcycle_right.png": "motorcycle_left.png"}


def test_the_readme_names_every_file_of_the_tree():
    root = MANIFESTS.parent
    readme = (root / "README.md").read_text()
    for path in [*(root / "cli").glob("*.py"), *(root / "glint_label").glob("*.py")]:
        if path.name != "__init__.py":
            assert path.name in readme, f"README.md's tree lacks {path.name}"
