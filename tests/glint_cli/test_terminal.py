"""The program on terminals and pipes of every kind, run as a program."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import save_photos, save_rated

NAMES = ["ok.png", "caf\xe9.png", "\u0142\xf3d\u017a.png", "\U0001f600.png"]
ASCII = [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
LATIN = [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "cp1252:strict"}]


def program(*arguments: object, **streams: object) -> subprocess.CompletedProcess[bytes]:
    """Run the program; its streams are captured unless others are given."""
    words = [sys.executable, "-m", "glint_cli.main", *map(str, arguments)]
    captured = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(words, **(captured | streams), timeout=60, check=False)


def close_both() -> None:
    os.close(1)
    os.close(2)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A build of photos with names that not every encoding can hold, made where nobody can be told of it."""
    root = tmp_path_factory.mktemp("terminal")
    refs, rated = save_photos(root / "r\xe9fs", NAMES), save_rated(root / "rated", 3, ["gaussian_blur"])
    arguments = ["--refs", refs, "--source=custom", "--source-dir", rated, "--embedder=statistics", "--transfer=knn"]
    result = program("build", *arguments, "--workers=0", "--k=2", "--out", root / "out", preexec_fn=close_both)
    assert result.returncode == 0
    return root / "out"


@pytest.mark.slow
@pytest.mark.parametrize("environment", [*ASCII, *LATIN, {"LC_ALL": "C"}], ids=str)
def test_where_stdout_is_not_unicode_bars_and_names_are_what_it_can_hold(built, environment):
    result = program("inspect", built, env=os.environ | environment)
    assert result.returncode == 0
    assert not result.stderr
    assert b"  ####" in result.stdout
    assert b"\xe2\x96\x88" not in result.stdout
    if environment in ASCII:
        assert result.stdout.isascii()
        assert b"caf\\xe9.png" in result.stdout
    answer = program("inspect", built, "--json", env=os.environ | environment).stdout
    assert set(json.loads(answer)["near_duplicate_counts"])
    missing = program("inspect", "n\xf6t here \U0001f600", env=os.environ | environment)
    assert missing.returncode == 3
    assert b"does not exist" in missing.stderr


def test_a_name_that_is_not_utf8_can_be_named_in_an_error_and_a_table(tmp_path):
    name = os.fsdecode(b"n\xff.png")
    result = program("inspect", tmp_path / name)
    assert result.returncode == 3
    assert b"n\\udcff.png: does not exist" in result.stderr
    code = "import sys; from glint_cli.terminal import open_streams; open_streams(); print(sys.argv[1])"
    shown = subprocess.run([sys.executable, "-c", code, name], stdout=subprocess.PIPE, check=True).stdout
    assert shown == b"n\\udcff.png\n"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["build", "--help"], pytest.param(["doctor", "--json"], marks=pytest.mark.slow)],
)
def test_a_full_stdout_is_one_line(arguments):
    if not Path("/dev/full").exists():
        pytest.skip("has no /dev/full")
    with Path("/dev/full").open("wb") as full:
        result = program(*arguments, stdout=full)
    assert result.returncode == 3
    assert result.stderr == b"Error: stdout: cannot be written (No space left on device); what was made is kept\n"


@pytest.mark.parametrize("arguments", [["--help"], pytest.param(["doctor"], marks=pytest.mark.slow)])
def test_a_reader_that_has_had_enough_is_no_fault(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = program(*arguments, stdout=writer)
    finally:
        os.close(writer)
    assert result.returncode == 141
    assert not result.stderr


@pytest.mark.slow
def test_a_command_ends_well_where_nobody_can_be_told_of_it(built):
    for number in (1, 2):
        result = program("inspect", built, preexec_fn=partial(os.close, number))
        assert (result.returncode, result.stderr) == (0, b"")
        assert program("inspect", built / "nothing", preexec_fn=partial(os.close, number)).returncode == 3


def test_a_full_stderr_stops_nothing(built):
    if not Path("/dev/full").exists():
        pytest.skip("has no /dev/full")
    with Path("/dev/full").open("wb") as full:
        assert program("inspect", built, stderr=full).returncode == 0
        assert program("inspect", built / "nothing", stderr=full).returncode == 3
