"""The demo, and the example of its output that is committed."""

import json
import subprocess
from pathlib import Path

import pytest

from glint_label.demo import ANCHORS, NOTE, run_demo
from glint_label.summary import summarise

MANIFESTS = Path(__file__).parents[2] / "manifests"


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
        made = demo.report.out.parent / name
        assert made.read_bytes() == (MANIFESTS / name).read_bytes(), f"{name}: run `make demo` and commit what changed"


def test_the_demo_says_what_its_ratings_are(demo):
    assert "NOT HUMAN" in NOTE
    assert json.loads((demo.report.out / "run.json").read_text())["ratings_note"] == NOTE
    assert NOTE in (demo.report.out / "README.md").read_text()
    assert "not human" in (MANIFESTS.parent / "README.md").read_text().lower()


def test_the_demo_is_whole_and_flags_its_stereo_pair(demo):
    figures = summarise(demo.report.out)
    assert figures["problems"] == []
    assert figures["references"] == 9
    same = {row["ref_file_name"]: row["of"] for row in figures["near_duplicates"]}
    assert same.pop("motorcycle_right.png") == "motorcycle_left.png"
    assert same == {name: f"anchor:anchors/{Path(name).stem}.png" for name in ANCHORS}  # they are its photos, reduced


def test_the_readme_names_every_file_of_the_tree():
    root = MANIFESTS.parent
    readme = (root / "README.md").read_text()
    for path in [*(root / "cli").glob("*.py"), *(root / "glint_label").glob("*.py")]:
        if path.name != "__init__.py":
            assert path.name in readme, f"README.md's tree lacks {path.name}"
