"""Paths that no file can have, or that may not be looked at: one line that names them, whatever the command."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from glint_cli.main import GlintGroup
from glint_label.errors import InputError, OutputError
from glint_label.listing import find_images
from tests.conftest import save_photos
from tests.glint_cli.test_commands import run

LONG = "n" * 300
DEMO = Path(__file__).parents[2] / "manifests" / "demo"
OUT = ["--source", "kadid10k", "--out", "out"]


def slow(*words: str) -> object:
    """Leave a command to the slow tests."""
    return pytest.param([*words], marks=pytest.mark.slow)


@pytest.fixture
def here(new_machine: Path) -> Path:
    """The working folder: one with a photo in `photos`."""
    save_photos(Path.cwd() / "photos", ["a.png"])
    return Path.cwd()


@pytest.mark.parametrize(
    "words",
    [
        ["score", LONG],
        ["score", "photos", f"photos/{LONG}/a.png"],
        slow("score", "photos", "--checkpoint", LONG),
        ["score", "photos", "--out", f"{LONG}.csv"],
        ["inspect", LONG],
        ["inspect", DEMO, "--html", LONG],
        ["inspect", DEMO, "--html", "report.html", "--refs", LONG],
        ["build", "--refs", LONG, *OUT],
        ["build", "--refs", "photos", "--refs", f"{LONG}.png", *OUT],
        slow("build", "--refs", "photos", *OUT, "--out", LONG, "--dry-run"),
        ["build", "--refs", "photos", *OUT, "--source-dir", f"photos/{LONG}"],
        slow("audit", "--source", "tid2013", "--source-dir", LONG),
        ["verify", "--source", "kadid10k", "--source-dir", LONG],
        ["export", LONG, "--to", "hf", "--out", "out"],
        ["export", DEMO, "--to", "hf", "--out", LONG],
        ["export", DEMO, "--to", "pyiqa", "--images", "png", "--refs", LONG, "--out", "out"],
        ["render", LONG],
        ["render", DEMO, "--refs", LONG],
        ["pretrain", "--manifest", LONG, "--out", "out"],
        ["pretrain", "--manifest", DEMO, "--refs", LONG, "--out", "out"],
        ["evaluate", "--dataset", "custom", "--data-dir", LONG],
        ["evaluate", "--dataset", f"{LONG}.csv"],
        ["export-onnx", LONG],
        ["fetch", "tid2013", "--to", LONG],
        ["fetch", "tid2013", "--from", LONG, "--to", "out"],
        ["demo", "--out", LONG],
    ],
    ids=lambda words: " ".join(str(word) for word in words).replace(LONG, "LONG").replace(str(DEMO), "DEMO"),
)
def test_a_name_that_is_too_long_is_one_line_and_nothing_is_written(here, words):
    line = run(*words, code=3).stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert LONG in line
    assert "File name too long" in line
    assert {path.name for path in here.iterdir()} <= {"photos", "out"}
    assert not [path for path in here.glob("out/*") if path.name != ".lock"]


@pytest.mark.parametrize(
    "words",
    [
        ["score", "circle"],
        ["score", "photos", "circle/a.png"],
        ["build", "--refs", "circle", *OUT],
        ["inspect", "circle"],
        ["export-onnx", "circle"],
        ["fetch", "tid2013", "--to", "circle"],
        ["demo", "--out", "circle"],
    ],
    ids=" ".join,
)
def test_links_that_lead_in_a_circle_are_one_line(here, words):
    (here / "circle").symlink_to("round")
    (here / "round").symlink_to("circle")
    assert "circle" in run(*words, code=3).stderr.splitlines()[-1]


@pytest.fixture
def private() -> Iterator[Path]:
    """A folder that nobody else may enter, with a photo, in one that everybody may."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        save_photos(Path(folder) / "private", ["a.png"])
        (Path(folder) / "private").chmod(0o700)
        yield Path(folder) / "private"


@contextmanager
def as_another_user() -> Iterator[None]:
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("only root can be another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "words", [["score", "private/a.png"], ["inspect", "private/build"], ["build", "--refs", "private/a.png", *OUT]]
)
def test_what_may_not_be_looked_at_is_one_line(private, new_machine, monkeypatch, words):
    monkeypatch.chdir(private.parent)
    run(*(str(word).replace("private", "absent") for word in words), code=3)  # what it needs is loaded by it
    with as_another_user():
        line = run(*words, code=3).stderr.splitlines()[-1]
    assert "Permission denied; grant access to it, or choose another path" in line


def test_of_a_list_the_line_that_may_not_be_looked_at_is_named(private):
    chosen = private.parent / "chosen.txt"
    chosen.write_text("private/a.png\n")
    chosen.chmod(0o644)
    assert find_images([chosen])[1].names == ["a.png"]
    with as_another_user(), pytest.raises(InputError, match=r"chosen\.txt: private/a\.png: permission denied"):
        find_images([chosen])


def ended_by(error: BaseException) -> click.testing.Result:
    """Run a command that raises."""

    class Group(GlintGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            def fail() -> None:
                raise error

            return click.Command(cmd_name, callback=fail)

    return CliRunner().invoke(Group(), ["work"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Error: /a: Permission denied; grant access"),
        (OSError(errno.EIO, "Input/output error", b"/b"), "Error: /b: Input/output error; look after the disk"),
        (OSError(errno.EROFS, "Read-only file system", Path("/c")), "Error: /c: Read-only file system; free some"),
        (OutputError("d: cannot be written"), "Error: d: cannot be written"),
    ],
)
def test_what_a_file_system_says_of_a_path_is_one_line(error, line):
    result = ended_by(error)
    assert result.exit_code == 3
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a"),
        OSError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error", 3),
        OSError("anything"),
        ValueError("anything"),
    ],
    ids=repr,
)
def test_what_our_own_code_should_have_looked_for_keeps_its_traceback(error):
    assert ended_by(error).exception is error
