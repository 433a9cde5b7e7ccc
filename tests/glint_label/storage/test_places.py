"""Addresses: which are taken, and what an object looks like from this program."""

import pickle
from importlib.util import find_spec
from pathlib import Path

import pytest

from glint_label.build.config import BuildConfig
from glint_label.errors import InputError, StorageError, UsageError
from glint_label.files import open_atomic, read_arrays, write_arrays, write_atomic
from glint_label.folders import check_kind, delete_own
from glint_label.images import read_photo
from glint_label.listing import find_images, list_all_images, list_images
from glint_label.manifest import reference_path
from glint_label.storage import place_of
from tests.conftest import save_photos
from tests.glint_label.storage.conftest import upload


@pytest.mark.parametrize("text", ["photos", "/data/photos", "./s3:/photos", "C:/photos", "a:b/c"])
def test_a_path_stays_a_path(text):
    assert place_of(text) == Path(text)


def test_file_addresses_are_paths():
    assert place_of("file:///data/my photos") == Path("/data/my photos")
    with pytest.raises(UsageError, match="file:///FOLDER"):
        place_of("file://photos")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://host/photos", "an address of s3://, gs://, file://"),
        ("s3://", "s3://BUCKET/FOLDER"),
        ("s3://bucket/../other", r"without `\.\.`"),
        ("s3:/bucket/photos", "takes one of the slashes out"),
    ],
)
def test_other_addresses_are_refused(text, words):
    with pytest.raises(UsageError, match=words):
        place_of(text)


@pytest.mark.parametrize("setting", ["refs", "out", "source_dir", "exclude_near"])
def test_settings_of_a_build_take_addresses_and_find_those_that_path_has_spoilt(setting):
    given = {"refs": "photos", "out": "out"}
    assert getattr(BuildConfig(**(given | {setting: "s3://b/x"})), setting) == place_of("s3://b/x")
    with pytest.raises(UsageError, match="as text; a Path takes"):
        BuildConfig(**(given | {setting: Path("s3://b/x")}))


def test_names_are_those_of_pathlib():
    place, path = place_of("s3://b/sub/photo.tar.gz"), Path("/b/sub/photo.tar.gz")
    assert str(place) == place.as_posix() == "s3://b/sub/photo.tar.gz"
    for name in ("name", "stem", "suffix"):
        assert getattr(place, name) == getattr(path, name)
    assert place.parent / "photo.tar.gz" == place == pickle.loads(pickle.dumps(place))
    assert [str(folder) for folder in place.parents] == ["s3://b/sub", "s3://b"]
    assert str(place.with_suffix(".png").with_name("x.png")) == "s3://b/sub/x.png"
    assert place.relative_to(place_of("s3://b")).as_posix() == "sub/photo.tar.gz"
    assert not place.is_relative_to(place_of("s3://b/su"))
    assert not place.is_relative_to(place_of("gs://b"))
    with pytest.raises(TypeError):  # what knows disks alone makes no folder called `s3:`
        Path(place)


def test_objects_are_files_and_prefixes_are_folders(bucket):
    file = bucket / "folder" / "a b#?%20ü.txt"
    assert not file.exists()
    assert not file.parent.is_dir()
    write_atomic(file, "two\r\nlines\n")
    assert file.is_file()
    assert not file.is_dir()
    assert file.parent.is_dir()
    assert file.stat().st_size == 11
    assert list(file.parent.iterdir()) == [file]
    assert file.read_text() == "two\nlines\n"
    assert file.open(newline="").read() == "two\r\nlines\n"
    with pytest.raises(FileNotFoundError, match="No such file"):
        (bucket / "folder" / "b").read_bytes()
    file.unlink()
    file.unlink(missing_ok=True)
    assert not file.parent.is_dir()


def test_what_breaks_off_is_not_uploaded(bucket):
    write_atomic(bucket / "kept", "before")
    with pytest.raises(TypeError), open_atomic(bucket / "kept") as file:
        file.writelines([b"half", "no bytes"])
    assert bucket.sizes() == {"kept": 6}
    with open_atomic(bucket / "kept") as file:
        file.write(b"all of it")
    assert (bucket / "kept").read_bytes() == b"all of it"
    write_arrays(bucket / "x.npz", numbers=[1, 2])
    assert read_arrays(bucket / "x.npz", "numbers")[0].tolist() == [1, 2]


def test_photos_are_listed_and_read_as_from_a_disk(bucket, tmp_path):
    names = ["b.png", "sub/a.jpg", "sub/deep/ü, 1.png"]
    local = save_photos(tmp_path / "photos", [*names, ".hidden/c.png"])
    (local / "notes.txt").write_text("x")
    place = upload(local, bucket / "photos")
    for odd in ("photos/sub/", "photos/a//b.png"):  # a folder as the console makes it, and what no path can name
        bucket._ask(lambda store, path, odd=odd: store.pipe_file(f"{path}/{odd}", b""))
    listing = list_images(place)
    assert listing.names == names
    assert "1 .txt" in listing.passed_over
    assert "1 hidden" in listing.passed_over
    assert "1 named as no file can be" in listing.passed_over
    ours, theirs = read_photo(place / names[2]), read_photo(local / names[2])
    assert ours.sha256 == theirs.sha256
    with pytest.raises(InputError, match="is passed over"):
        list_all_images(place)
    write_atomic(bucket / "list.txt", "photos/b.png\nphotos/sub/a.jpg\n")
    assert find_images([bucket / "list.txt"])[0] == place
    with pytest.raises(InputError, match="in one bucket or on one disk"):
        find_images([place, local])


@pytest.mark.parametrize("name", ["../other.png", "/bucket/x.png", "s3://bucket/x.png", "file:///etc/passwd"])
def test_a_manifest_leads_out_of_no_bucket(name):
    with pytest.raises(InputError, match="leads out of the references root s3://bucket/photos"):
        reference_path(place_of("s3://bucket/photos"), name)


def test_only_our_own_objects_are_deleted(bucket):
    for name in ("out/run.json", "out/shards/00000/metadata.csv", "out/mine.txt"):
        write_atomic(bucket / name, '{"kind": "build"}')
    assert check_kind(bucket / "out", "build")
    delete_own(bucket / "out", (r"run\.json", r"shards/\d{5}/metadata\.csv"))
    assert bucket.sizes() == {"out/mine.txt": 17}


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_store_whose_library_is_not_installed_says_which():
    with pytest.raises(StorageError, match=r"gs:// needs gcsfs: pip install 'glint-label\[gs\]'"):
        place_of("gs://bucket/photos").is_dir()


def test_a_bucket_that_is_not_there_is_never_made(s3):
    with pytest.raises(StorageError, match="there is no such bucket; create it"):
        place_of("s3://nowhere/photos").is_dir()
    with pytest.raises(StorageError, match="there is no such bucket; create it"):
        write_atomic(place_of("s3://nowhere/x"), "x")
