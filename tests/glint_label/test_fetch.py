"""Rated datasets from a server that misbehaves and archives that lie: whole where `build` looks, or not there."""

import hashlib
import io
import random
import shutil
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from glint_label.errors import DownloadError, InputError, StateError
from glint_label.fetch import _UNRAR, ARCHIVES, Archive, fetch_source
from glint_label.folders import lock_folder
from glint_label.progress import NoProgress
from glint_label.sources import FETCHED, find_source_dir
from tests.archives import kadid10k_files, rar_of, tid2013_files, zip_of
from tests.conftest import file_bytes
from tests.http_site import answers, breaks_after, serve

PAGE = "https://authors.example/page.html"


@pytest.fixture(scope="module")
def packed() -> bytes:
    return zip_of(kadid10k_files(), below="kadid10k/")


@pytest.fixture
def site(packed):
    with serve(packed) as site:
        yield site


@pytest.fixture
def home(new_machine) -> Path:
    """A machine with nothing on it; returns where kadid10k belongs."""
    return new_machine / "kadid10k"


def fetch(site, to=None, name="kadid10k", **options):
    archive = options.pop("archive", None) or Archive(site.address if site else "", PAGE)
    return fetch_source(name, to, archive=archive, pauses=(0.0, 0.0, 0.0), **options)


def test_every_dataset_that_the_errors_promise_can_be_fetched():
    assert tuple(ARCHIVES) == FETCHED


def test_the_dataset_is_put_where_build_looks_and_then_left_alone(site, home):
    source, was_there = fetch(site)
    assert (source.root, was_there) == (home, False)
    assert find_source_dir("kadid10k") == home
    assert file_bytes(home) == dict(sorted(kadid10k_files().items()))
    assert [path.name for path in home.parent.iterdir()] == ["kadid10k"], "nothing of the download is left"
    site.asked.clear()
    assert fetch(site)[1] is True
    assert not site.asked


def test_it_goes_where_build_looks_first(site, home, tmp_path, monkeypatch):
    monkeypatch.setenv("GLINT_DATA", str(tmp_path / "mine"))
    assert fetch(site)[0].root == tmp_path / "mine" / "kadid10k"
    Path("kadid10k").mkdir()  # build would look into it, and not further
    assert fetch(site)[0].root == Path("kadid10k").resolve()
    assert fetch(site)[1] is True


@pytest.mark.parametrize("below", ["", "kadid10k/", "KADID 10k ü/"])
def test_folders_in_the_archive_do_not_matter(home, below):
    with serve(zip_of(kadid10k_files() | {"README.txt": b"read me"}, below=below)) as site:
        fetch(site)
    assert (home / "dmos.csv").is_file()
    assert (home / "README.txt").is_file()


def test_a_download_that_broke_off_looks_like_nothing_and_goes_on(site, home, packed):
    site.faults = [breaks_after(len(packed) // 2), *[breaks_after(0)] * 3]
    with pytest.raises(DownloadError, match="run the same command again"):
        fetch(site)
    assert not home.exists()
    assert find_source_dir("kadid10k") is None
    site.asked.clear()
    assert len(fetch(site)[0].anchors) == 81
    assert [bool(asked) for asked in site.asked] == [True]


def test_an_interrupted_unpacking_looks_like_nothing_and_needs_no_new_download(site, home):
    class Interrupted(NoProgress):
        def update(self, n):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(site, progress=lambda what, *_: Interrupted() if what == "unpack" else NoProgress())
    assert find_source_dir("kadid10k") is None
    site.asked.clear()
    assert len(fetch(site)[0].anchors) == 81
    assert not site.asked


def test_a_form_is_told_in_plain_words_and_the_archive_from_the_browser_is_taken(site, home, tmp_path, packed):
    site.faults = [answers(200, b"<html><form>Your name</form></html>", Content_Type="text/html")]
    words = rf"web page where a file was expected; open {PAGE} in a browser, .* glint-label fetch kadid10k --from FILE"
    with pytest.raises(DownloadError, match=words):
        fetch(site)
    mine = tmp_path / "from the browser.zip"
    mine.write_bytes(packed)
    assert fetch(site, origin=str(mine))[0].root == home
    assert mine.is_file()
    assert len(site.asked) == 1


def test_a_mirror_is_taken_without_the_authors_checksum(site, home):
    archive = Archive("http://127.0.0.1:9/gone.zip", PAGE, 1, "sha256:00")
    assert fetch(site, archive=archive, origin=site.address)[0].root == home


def test_size_and_checksum_are_compared_where_they_are_known(site, home, packed):
    archive = Archive(site.address, PAGE, len(packed), f"sha256:{hashlib.sha256(packed).hexdigest()}")
    with pytest.raises(DownloadError, match=f"offers {len(packed):,} bytes where 5 were expected; open {PAGE}"):
        fetch(site, archive=replace(archive, size=5))
    with pytest.raises(DownloadError, match=r"the sha256 of what arrived is .*, not 00") as caught:
        fetch(site, archive=replace(archive, checksum="sha256:00"))
    assert not home.exists()
    doubtful = str(caught.value).partition("--from ")[2].partition(" takes")[0]
    assert fetch(site, origin=doubtful)[0].root == home
    shutil.rmtree(home)
    assert fetch(site, archive=archive)[0].root == home


def test_a_file_that_ends_before_the_end_is_downloaded_again_by_the_next_call(site, home, packed):
    half = packed[: len(packed) // 2]
    for lie in (answers(200, half, Content_Length=len(half)), answers(200, half)):
        site.faults = [lie]
        with pytest.raises(DownloadError, match=r"is a damaged archive .*; run the same command again"):
            fetch(site)
        assert not home.exists()
    assert len(fetch(site)[0].anchors) == 81


def test_two_versions_mixed_by_a_server_that_names_neither_are_found_out(site, home, packed):
    site.version = ""
    site.faults = [breaks_after(len(packed) // 2), *[breaks_after(0)] * 3]
    with pytest.raises(DownloadError):
        fetch(site)
    site.content = bytes(byte ^ 1 for byte in packed[:-2000]) + packed[-2000:]  # as long, but another file
    with pytest.raises(DownloadError, match="damaged archive"):
        fetch(site)
    site.content = packed
    assert len(fetch(site)[0].anchors) == 81


def without(*names: str) -> bytes:
    return zip_of({name: content for name, content in kadid10k_files().items() if name not in names})


NOT_IT = {
    "text": (b"The server is being repaired.", "neither ZIP nor RAR"),
    "no entries": (zip_of({}), "does not hold a complete kadid10k"),
    "no labels": (without("dmos.csv"), r"does not hold a complete kadid10k .*dmos\.csv"),
    "an anchor short": (without("images/I04.png"), r"does not hold a complete kadid10k .*1 of 81 anchors .*I04\.png"),
    "another dataset": (zip_of(tid2013_files()), "does not hold a complete kadid10k"),
}


@pytest.mark.parametrize("kind", NOT_IT)
def test_what_is_not_the_dataset_is_not_put_in_place(home, kind):
    content, words = NOT_IT[kind]
    with serve(content) as site, pytest.raises(DownloadError, match=f"{words}.*; run the same command again, or open"):
        fetch(site)
    assert not home.exists()


ESCAPES = ["../evil", "kadid10k/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "c:evil", "\\\\host\\share\\evil"]


@pytest.mark.parametrize("name", ESCAPES)
def test_no_entry_leaves_the_folder(home, tmp_path, name):
    before = set(tmp_path.parent.rglob("*"))
    evil = zip_of({"a.txt": b"first", name: b"evil"})
    with serve(evil) as site, pytest.raises(DownloadError, match="is a link or leads out of the folder"):
        fetch(site)
    made = {path for path in tmp_path.parent.rglob("*") if path not in before and path.is_file()}
    assert {path.parent.name for path in made} <= {".kadid10k.fetch"}


def test_links_in_an_archive_are_refused(home):
    link = zipfile.ZipInfo("kadid10k/images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc")
    with serve(buffer.getvalue()) as site, pytest.raises(DownloadError, match="is a link"):
        fetch(site)


def declared(content: bytes, size: int) -> bytes:
    """Let every entry of an archive claim to unpack to so many bytes."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        for entry in archive.infolist():
            entry.file_size = size
        archive.comment = b"changed"  # so that the table is written again
    return buffer.getvalue()


def test_a_bomb_is_not_set_off(home):
    bomb = declared(zip_of({f"{number}.bin": bytes(1000) for number in range(9)}), 4_000_000_000)
    with serve(bomb) as site, pytest.raises(DownloadError, match="would unpack to 36 GB in 9 files, more than any"):
        fetch(site)
    small = declared(zip_of({"dmos.csv": bytes(10_000_000)}), 1000)  # holds more than it says
    with serve(small) as site, pytest.raises(DownloadError, match="damaged archive"):
        fetch(site)
    assert sum(path.stat().st_size for path in home.parent.rglob("*")) < 1_000_000


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused_before_a_byte_is_written(home):
    zeros = declared(zip_of({"zeros.bin": bytes(1000)}), 10_000_000_000)
    with serve(zeros) as site, pytest.raises(DownloadError, match="would unpack to 10 GB in 1 files, more than any"):
        fetch(site)
    assert not list(home.parent.rglob("zeros.bin"))


def test_a_program_that_unpacks_more_than_a_dataset_holds_is_ended(home, tmp_path, monkeypatch):
    unpacker = tmp_path / "bin" / "unar"  # stands in for one that is given a bomb: it would write for ever
    unpacker.parent.mkdir()
    unpacker.write_text('#!/bin/sh\nwhile :; do echo 0123456789 >> "$3/zeros"; done\n')
    unpacker.chmod(0o700)
    monkeypatch.setenv("PATH", f"{unpacker.parent}")
    monkeypatch.setattr("glint_label.fetch._SMALL", 1000)
    rar = rar_of({"small.txt": b"1"})
    with serve(rar) as site, pytest.raises(DownloadError, match=r"unpacks to more than 0\.0 GB or 100,000 files"):
        fetch(site, name="tid2013")
    assert not home.with_name("tid2013").exists()


def test_whatever_is_broken_in_an_archive_ends_in_one_line(home, tmp_path):
    whole = zip_of({"dmos.csv": b"a,b\n" * 50, "images/I01.png": b"1" * 300})
    rng = random.Random(0)
    path = tmp_path / "mutated.zip"
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(2, len(content))] = rng.randrange(256)
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            fetch(None, origin=str(path))
        assert str(path) in str(caught.value)


def test_a_folder_that_holds_something_else_is_not_touched(site, home):
    home.mkdir(parents=True)
    (home / "thesis.txt").write_text("mine")
    with pytest.raises(StateError, match=r"is not empty, and holds no complete kadid10k .*; move it away, or choose"):
        fetch(site)
    assert file_bytes(home) == {"thesis.txt": b"mine"}
    (home.parent / "file").write_text("mine")
    with pytest.raises(StateError, match="cannot be made anew"):
        fetch(site, home.parent / "file")
    with pytest.raises(StateError, match="cannot be made anew"):
        fetch(site, Path())
    assert not site.asked


def test_two_calls_do_not_write_into_one_folder(site, home):
    with lock_folder(home.with_name(".kadid10k.fetch")), pytest.raises(StateError, match="choose another --to"):
        fetch(site)


def test_a_file_that_is_not_there_is_named(home):
    with pytest.raises(InputError, match=rf"--from no\.zip: no such file; open {PAGE}"):
        fetch(None, origin="no.zip")


def test_tid2013_is_taken_as_zip_too(home):
    with serve(zip_of(tid2013_files())) as site:
        assert fetch(site, name="tid2013")[0].root == home.with_name("tid2013")


def test_rar_without_a_program_says_which_and_keeps_the_download(home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with serve(rar_of(tid2013_files())) as site:
        for _ in range(2):
            with pytest.raises(InputError, match=r"RAR archive, which bsdtar, unrar, .* install one .*is kept"):
                fetch(site, name="tid2013")
        assert len(site.asked) == 1


@pytest.mark.skipif(not any(map(shutil.which, _UNRAR)), reason="needs a program that unpacks RAR")
def test_tid2013_is_unpacked_from_rar(home):
    with serve(rar_of({name.replace("/", "\\"): content for name, content in tid2013_files().items()})) as site:
        source, _ = fetch(site, name="tid2013")
    assert (source.root, len(source.anchors)) == (home.with_name("tid2013"), 25)
    with (
        serve(rar_of(tid2013_files())[:100_000]) as site,
        pytest.raises(DownloadError, match="cannot be unpacked with"),
    ):
        fetch(site, home / "other", name="tid2013")
