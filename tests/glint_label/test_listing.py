"""What is found below a folder, what is passed over and said so, and what is refused."""

import json
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from glint_label.errors import ImageError, InputError
from glint_label.files import sha256_of
from glint_label.images import CAN_READ_HEIF, read_photo
from glint_label.listing import find_images, list_all_images, list_images
from tests.conftest import make_photo, save_photos
from tests.glint_cli.test_commands import run

OPTIONS = [
    "--source",
    "custom",
    "--mos-range",
    "1",
    "5",
    "--embedder",
    "statistics",
    "--transfer",
    "knn",
    "--workers",
    "0",
]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Three photos, and much else."""
    root = save_photos(tmp_path / "mixed", ["a.png", "sub/b.jpg", "sub/c.jfif"])
    save_photos(tmp_path / "elsewhere", ["d.png"])
    for name in ("x.HEIC", "y.heic", "notes.txt", "README", "film.mov", "odd.a b c", ".DS_Store", "sub/.e.png"):
        (root / name).write_bytes(b"nothing")
    (root / ".cache").mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "sub" / "round").symlink_to(root)
    return root


@pytest.mark.skipif(CAN_READ_HEIF, reason="HEIC is read here")
def test_all_that_is_passed_over_is_counted(mixed):
    listing = list_images(mixed)
    assert listing.names == ["a.png", "sub/b.jpg", "sub/c.jfif"]
    assert listing.files == {".heic": 2, ".txt": 1, ".mov": 1, "other": 2, "hidden": 2}
    assert listing.folders == {"linked": 2, "hidden": 1}
    assert listing.passed_over == (
        "8 files passed over (2 .heic, 2 hidden, 2 other, 1 .mov, 1 .txt), "
        "3 folders passed over (2 linked, 1 hidden); to read HEIC: pip install 'glint-label[heif]'"
    )


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path):
    assert list_images(save_photos(tmp_path, ["a.png", "sub/b.jpg"])).passed_over == ""


def test_build_and_dry_run_and_run_json_say_what_is_passed_over(mixed, rated, tmp_path):
    out = tmp_path / "out"
    options = ["--refs", mixed, "--source-dir", rated, "--out", out, "--k", "1", *OPTIONS]
    said = list_images(mixed).passed_over
    assert said in run("build", *options, "--dry-run").stdout
    assert said in run("build", *options).stdout
    passed = json.loads((out / "run.json").read_text())["passed_over"]
    assert passed["folders"] == {"hidden": 1, "linked": 2}
    assert passed["files"] == list_images(mixed).files


def test_a_folder_without_photos_says_what_it_holds_instead(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.cr3").touch()
    with pytest.raises(InputError, match=r"holds no image \(3 files passed over \(3 \.cr3\)\)"):
        list_images(tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path):
    save_photos(tmp_path, ["a.png"])
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # deeper than a path can be long
        os.mkdir("d" * 250, dir_fd=here)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\), so photos may be missing"):
        list_images(tmp_path)


HEADS = {
    "raw.dng": b"II*\0\x08\0\0\0",
    "old.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "new.jxl": b"\xff\x0a\x00",
    "turning.gif": b"GIF89a",
    "without_ending": b"\xff\xd8\xff\xe0",
    ".hidden.png": b"\x89PNG\r\n\x1a\n",
    ".hidden/x.png": b"\x89PNG\r\n\x1a\n",
    **({} if CAN_READ_HEIF else {"phone.heic": b"\0\0\0\x18ftypheic"}),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_picture_that_would_be_passed_over_is_a_hole(tmp_path, name):
    save_photos(tmp_path, ["a.png"])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(HEADS[name])
    with pytest.raises(InputError, match="copies of what it may show cannot be found"):
        list_all_images(tmp_path)


def test_a_linked_folder_is_a_hole_and_a_pipe_is_one(tmp_path):
    save_photos(tmp_path / "one", ["a.png"])
    save_photos(tmp_path / "two", ["b.png"])
    (tmp_path / "one" / "two").symlink_to(tmp_path / "two")
    with pytest.raises(InputError, match="one/two: is passed over"):
        list_all_images(tmp_path / "one")
    os.mkfifo(tmp_path / "two" / "pipe")
    with pytest.raises(InputError, match="two/pipe: is passed over"):
        list_all_images(tmp_path / "two")


def test_what_is_no_picture_is_no_hole(tmp_path):
    save_photos(tmp_path, ["a.png"])
    for name, content in {"dmos.csv": b"a,b\n1,2\n", "README": b"BM is a format\n", "._a.png": b"\0\5\x16\7"}.items():
        (tmp_path / name).write_bytes(content)
    assert list_all_images(tmp_path) == ["a.png"]


def test_a_hole_ends_a_build_before_it_writes(refs, rated, tmp_path):
    benchmark = save_photos(tmp_path / "benchmark", ["a.png"])
    (benchmark / "b.gif").write_bytes(b"GIF89a")
    options = ["--refs", refs, "--source-dir", rated, "--out", tmp_path / "out", "--exclude-near", benchmark, *OPTIONS]
    assert "b.gif: is passed over" in run("build", *options, code=3).stderr
    (benchmark / "b.gif").unlink()
    os.mkfifo(benchmark / "b.png")
    assert "b.png: cannot be read (is not a regular file)" in run("build", *options, code=3).stderr
    assert not (tmp_path / "out").exists()


def irregular(folder: Path, kind: str) -> Path:
    """Make something that is called a photo and is none."""
    path = folder / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(folder)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x.png")
        os.chdir(here)
    elif kind == "linked pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "linked pipe", "folder", "/dev/zero", "/dev/tty", "/dev/stdin"])
def test_only_regular_files_are_opened(tmp_path, kind):
    path = irregular(tmp_path, kind)
    with pytest.raises(ImageError, match="is not a regular file") as caught:
        read_photo(path)
    assert caught.value.reason == "unreadable"
    with pytest.raises(OSError, match="is not a regular file"):
        sha256_of(path)


@pytest.mark.parametrize("target", ["nowhere.png", "x.png"])
def test_a_link_that_leads_nowhere_or_round_is_unreadable(tmp_path, target):
    (tmp_path / "x.png").symlink_to(tmp_path / target)
    with pytest.raises(ImageError) as caught:
        read_photo(tmp_path / "x.png")
    assert caught.value.reason == "unreadable"


def test_a_linked_photo_is_a_photo(tmp_path):
    Image.fromarray(make_photo(1)).save(tmp_path / "photo.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").symlink_to(tmp_path / "photo.png")
    assert list_images(tmp_path / "in").names == ["x.png"]
    assert read_photo(tmp_path / "in" / "x.png").pixels.shape == (80, 96, 3)


def test_a_build_goes_past_pipes_and_devices(refs, rated, tmp_path):
    os.mkfifo(refs / "pipe.jpg")
    (refs / "device.png").symlink_to("/dev/zero")
    options = ["--refs", refs, "--source-dir", rated, "--out", tmp_path / "out", "--k", "1", *OPTIONS]
    assert "2 photos could not be used (2 unreadable)" in run("build", *options).stdout


def test_photos_are_named_by_files_folders_and_lists(mixed, tmp_path):
    one, other = mixed / "a.png", tmp_path / "elsewhere" / "d.png"
    assert find_images([mixed])[0] == mixed
    assert find_images([mixed])[1] == list_images(mixed)
    root, listing = find_images([one])
    assert (root, listing.names) == (mixed, ["a.png"])
    root, listing = find_images([one, mixed / "sub", other, one])
    assert (root, listing.names) == (
        tmp_path,
        ["elsewhere/d.png", "mixed/a.png", "mixed/sub/b.jpg", "mixed/sub/c.jfif"],
    )
    assert listing.passed_over == "1 file passed over (1 hidden), 1 folder passed over (1 linked)"
    chosen = tmp_path / "chosen.txt"
    chosen.write_bytes(f"mixed/a.png\r\n\r\n{other}\r\n".encode("utf-16"))
    root, listing = find_images([chosen])
    assert (root, listing.names) == (tmp_path, ["elsewhere/d.png", "mixed/a.png"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "chosen.txt: the list names no image; write one path a line"),
        (b"mixed/a.png\nmixed/z.png\n", "z.png: no such file; correct the list"),
        (b"mixed/notes.txt\n", "notes.txt: not an image"),
        (b"mixed/a.png\n" + b"n" * 300 + b".png\n", r"txt: n{200}\.\.\.: file name too long; correct the list"),
        (b"mixed/a.png/b.png\n", "mixed/a.png/b.png: no such file"),
        (b"circle/b.png\n", "circle/b.png: no such file"),
        (b"PK\3\4\0\0\0", "chosen.txt: neither an image .* nor a text list of images"),
    ],
)
def test_a_list_that_does_not_fit_is_one_line(mixed, tmp_path, content, words):
    (tmp_path / "chosen.txt").write_bytes(content)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match=words):
        find_images([tmp_path / "chosen.txt"])


@pytest.mark.skipif(CAN_READ_HEIF, reason="has the extra [heif]")
def test_a_heic_file_says_what_reads_it(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InputError, match=r"IMG_1.HEIC: a HEIC picture; .* 'glint-label\[heif\]'"):
        find_images([tmp_path / "IMG_1.HEIC"])


def test_a_place_that_is_missing_is_an_error_beside_others(mixed, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_images([mixed, tmp_path / "nowhere"])


@pytest.mark.slow
def test_builds_of_several_places_go_on_and_render(mixed, rated, tmp_path):
    out = tmp_path / "out"
    command = ["build", "--refs", mixed / "a.png", "--refs", tmp_path / "elsewhere", "--source-dir", rated]
    command += ["--out", out, "--k", "2", *OPTIONS]
    assert "rows for 2 photos" in run(*command).stdout
    assert json.loads((out / "run.json").read_text())["refs"] == str(tmp_path)
    assert "1 shard, 1 of them finished before" in run(*command).stdout
    assert run("render", out, "--levels", "1").exit_code == 0
    settings = tmp_path / "build.yaml"
    settings.write_text(f"refs: [{mixed / 'a.png'}, {tmp_path / 'elsewhere'}]\n")
    again = [part for part in command if part not in ("--refs", mixed / "a.png", tmp_path / "elsewhere")]
    assert "finished before" in run(*again, "--config", settings).stdout
    inside = [tmp_path / "elsewhere" / "out" if part == out else part for part in command]
    assert "lies inside --refs" in run(*inside, code=2).stderr
