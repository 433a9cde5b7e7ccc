"""`glint-label fetch` as a user meets it: a fresh machine, then the first command of README with the real ratings."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from glint_cli.main import main
from glint_label.embed.clip import CLIP_FILES, DEFAULT_REPOSITORY
from glint_label.sources import FETCHED
from tests.archives import kadid10k_files, zip_of
from tests.conftest import save_photos
from tests.glint_cli.test_commands import run
from tests.http_site import answers, behave, serve


@pytest.fixture
def fresh(new_machine) -> Path:
    """A machine with a folder of photos and nothing else; returns the user's data folder of the program."""
    save_photos(Path("pristine"), ["a.png", "b.png"])
    return new_machine


def test_all_that_can_be_fetched_is_offered():
    (what, *_) = main.get_command(click.Context(main), "fetch").params
    assert tuple(what.type.choices) == (*FETCHED, "clip")


def test_after_it_build_uses_the_real_ratings(fresh):
    build = ["build", "--refs", "./pristine", "--source", "kadid10k", "--embedder", "packaged", "--dry-run"]
    assert "With it (`glint-label fetch kadid10k`), CLIP and" in run(*build).stdout
    assert "download it with `glint-label fetch kadid10k`" in run(*build, "--transfer", "knn", code=3).stderr
    with serve(zip_of(kadid10k_files(), below="kadid10k/")) as site:
        output = run("fetch", "kadid10k", "--from", site.address).stdout
        assert f"kadid10k is complete in {fresh / 'kadid10k'} (81 anchors, 10125 ratings)\n" in output
        assert "Terms: research use, cite the authors (Lin, Hosu, Saupe" in output
        assert output.endswith("Next: glint-label build --refs YOUR_PHOTOS --source kadid10k\n")
        assert "as before; nothing was downloaded" in run("fetch", "kadid10k", "--from", site.address).stdout
    assert f"Labels from the ratings in {fresh / 'kadid10k' / 'dmos.csv'} (81 anchors" in run(*build).stdout


def test_a_folder_of_ones_own_is_passed_on_to_build(fresh, tmp_path):
    Path("mine.zip").write_bytes(zip_of(kadid10k_files()))
    output = run("fetch", "kadid10k", "--from", "mine.zip", "--to", tmp_path / "sets" / "kadid").stdout
    assert output.endswith(f"--source kadid10k --source-dir {tmp_path / 'sets' / 'kadid'}\n")
    assert not fresh.exists()


def test_a_page_instead_of_the_archive_ends_in_one_line(fresh):
    with serve(b"") as site:
        site.faults = [answers(200, b"<!doctype html><form>Who are you?</form>")]
        error = run("fetch", "kadid10k", "--from", site.address, code=3).stderr
    assert "web page where a file was expected; open https://database.mmsp-kn.de/kadid-10k-database.html in a" in error
    assert error.endswith("then: glint-label fetch kadid10k --from FILE\n")
    assert len(error.splitlines()) == 1


def hub(request, content):
    """Answer as the model hub does: about the file first, then with it."""
    wanted = f"/{DEFAULT_REPOSITORY}/resolve/main/{CLIP_FILES[0]}"
    if request.path != wanted:
        request.begin(404, X_Error_Code="EntryNotFound", Content_Length=0)
    elif request.command == "HEAD":
        request.begin(200, Content_Length=len(content), X_Repo_Commit="0" * 40)
    else:
        behave(request, content)


def fetch_clip(site, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: the hub's client reads its settings once."""
    settings = {
        "HF_ENDPOINT": site.address.rpartition("/data")[0],
        "HF_HOME": str(home),
        "NO_PROXY": "*",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "glint_cli.main", "fetch", "clip", *options]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("to", [[], ["--to", "clip weights"]], ids=["the hub's cache", "a folder"])
def test_clip_comes_from_the_hub_and_once_only(fresh, tmp_path, to):
    content = bytes(range(256)) * 1000
    with serve(content) as site:
        site.faults = [hub] * 9
        made = [fetch_clip(site, tmp_path / "hf", *to).stdout for _ in range(2)]
        assert len(site.asked) <= 3
    assert made[0] == made[1]
    first, following = made[0].splitlines()
    path = Path(first.removeprefix("CLIP's weights are in "))
    assert path.read_bytes() == content
    assert path.is_relative_to(Path("clip weights").resolve() if to else tmp_path / "hf")
    assert following.endswith(f" --clip-weights '{path}'" if to else "kadid10k")


def test_a_hub_that_leads_nowhere_ends_in_one_line(fresh, tmp_path):
    def astray(request, content):
        if request.command == "HEAD":
            hub(request, content)
        else:
            request.begin(302, Location=request.path, Content_Length=0)

    with serve(b"weights") as site:
        site.faults = [astray] * 99
        ended = fetch_clip(site, tmp_path / "hf")
    assert ended.returncode == 3, ended.stderr
    assert "the download failed; run the same command again when" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_clip_is_not_taken_from_an_archive(fresh):
    assert "build takes a file of yours with --clip-weights" in run("fetch", "clip", "--from", "x", code=2).stderr
