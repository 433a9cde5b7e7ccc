"""The demo, and the example of its output that is committed."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from glint_cli.main import main
from glint_label.build.pipeline import build
from glint_label.demo import run_demo
from glint_label.errors import OutputError, StateError, UsageError
from glint_label.manifest import digest_of
from glint_label.manifest.inspect import summarise
from tests.conftest import custom_build, file_bytes, save_photos, save_rated

SLOW = pytest.mark.slow  # the whole main job
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


@SLOW
def test_the_demo_ends_with_what_was_made_and_what_to_type_next(demo):
    for words in ("1,125 (", "Integrity: 1 shard complete", "What was made", "What to type next"):
        assert words in demo.output
    assert f"glint-label render {demo.out} --reference coffee.png --levels 5" in demo.output
    assert (demo.out.parent / "demo-photos" / "coffee.png").is_file()


@SLOW
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


@SLOW
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


@SLOW
def test_the_demo_is_whole_and_flags_its_stereo_pair(demo):
    figures = summarise(demo.out)
    assert figures["problems"] == []
    assert figures["references"] == 9
    same = {row["reference"]: row["of"] for row in figures["near_duplicates"]}
    assert same == {"motorcycle_right.png": "motorcycle_left.png"}


@SLOW
def test_an_earlier_demo_is_replaced_and_its_photos_are_left_as_they_are(demo):
    before = file_bytes(demo.out / "shards")
    photo = demo.out.parent / "demo-photos" / "coffee.png"
    written = photo.stat().st_mtime_ns
    own = demo.out.parent / "demo-photos" / "mine.png"
    shutil.copyfile(photo, own)
    result = CliRunner().invoke(main, ["demo", "--out", str(demo.out), "--workers", "2"])
    own.unlink()
    assert result.exit_code == 0, result.output
    assert file_bytes(demo.out / "shards") == before
    assert photo.stat().st_mtime_ns == written


def refused(out: Path, error: type[Exception], match: str) -> None:
    """Expect that the demo ends before it writes anything."""
    before = file_bytes(out.parent)
    with pytest.raises(error, match=match):
        run_demo(out, workers=0)
    assert file_bytes(out.parent) == before


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a demo that was made elsewhere, as a clone has it; its photos are not there."""
    shutil.copytree(MANIFESTS / "demo", tmp_path / "manifests" / "moved")
    return tmp_path / "manifests"


@pytest.mark.parametrize("photos", [["x.png", "y.png"], ["coffee.png"]])
def test_a_build_of_other_photos_is_not_replaced(tmp_path, place, photos):
    refs = save_photos(tmp_path / "demo-photos", photos)
    build(custom_build(refs, save_rated(tmp_path / "rated", 3, ["brighten"]), place / "mine", transfer="knn", k=2))
    refused(place / "mine", StateError, "build that is not a demo, so it is not replaced; choose another --out")


@pytest.mark.parametrize("photos", [Path("astronaut.png"), Path("rocket.jpg")])
def test_an_earlier_demo_is_known_wherever_it_was_made_and_a_photo_in_the_way_is_kept(place, photos):
    (place / "moved-photos").mkdir()
    (place / "moved-photos" / photos).write_bytes(b"another picture")
    refused(place / "moved", StateError, f"{photos}: is not the demo's photo of that name; move it away")


def test_a_build_of_the_demos_photos_with_real_ratings_is_not_replaced(place):
    path = place / "moved" / "run.json"
    run = json.loads(path.read_text())
    run["config"]["ratings"] = "dataset"
    path.write_text(json.dumps(run | {"config_sha256": digest_of(run["config"])}))
    refused(place / "moved", StateError, "not a demo")


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace('"seed": 0', '"seed": 1')])
def test_a_folder_that_does_not_say_whose_it_is_any_more_is_not_replaced(place, damage):
    path = place / "moved" / "run.json"
    path.write_text(damage(path.read_text()))
    refused(place / "moved", StateError, "not a demo|is damaged or not of glint-label")


def test_nothing_is_written_through_links_or_over_folders_among_the_photos(tmp_path, place):
    photos, elsewhere = place / "demo-photos", tmp_path / "elsewhere.png"
    photos.mkdir()
    for target in (elsewhere, tmp_path / "absent.png"):
        elsewhere.write_bytes(b"mine")
        (photos / "ihc.png").symlink_to(target)
        refused(place / "demo", StateError, "ihc.png: is a link, which may lead anywhere; remove it")
        assert elsewhere.read_bytes() == b"mine"
        assert not (tmp_path / "absent.png").exists()
        (photos / "ihc.png").unlink()
    (photos / "ihc.png").mkdir()
    refused(place / "demo", StateError, "ihc.png: is not the demo's photo")
    (photos / "ihc.png").rmdir()
    photos.rename(tmp_path / "other")
    photos.symlink_to(tmp_path / "other")
    refused(place / "demo", StateError, "demo-photos: is a link")
    assert not list((tmp_path / "other").iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path, place, monkeypatch):
    (place / "file").touch()
    refused(place / "file" / "demo", OutputError, r"file/demo-photos: cannot be written \(Not a directory\)")
    (place / "demo-photos").touch()
    refused(place / "demo", OutputError, r"demo-photos: cannot be written \(File exists\)")
    with pytest.raises(UsageError, match="--out /: must be a folder that another one can stand beside"):
        run_demo(Path("/"), workers=0)
    monkeypatch.chdir(place)
    refused(Path(), StateError, f"{place}: holds files that no build made")
