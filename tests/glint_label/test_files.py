"""Files below the rooms: what cannot be written, rows that wait on the disk, paths that are made when asked for."""

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from glint_label.errors import OutputError
from glint_label.export.tables import write_tables
from glint_label.files import append_text, make_folder, open_atomic, spooled_rows, write_atomic
from glint_label.names import Below
from glint_label.storage import place_of
from tests.conftest import files_end_at


def test_spooled_rows_come_back_as_one_array_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pieces = [np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32) for count in (4, 0, 2)]
    with spooled_rows() as spool:
        for piece in pieces:
            spool.append(piece)
        rows = spool.rows()
        np.testing.assert_array_equal(rows, np.concatenate(pieces))
        assert not list(tmp_path.iterdir())


def test_a_temporary_folder_that_cannot_be_used_is_one_line_that_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match=r"missing.*TMPDIR"), spooled_rows():
        pass


def test_on_a_full_disk_there_is_no_temporary_folder_at_all_and_that_is_one_line_too(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)  # looked for again
    with pytest.raises(OutputError, match="No usable temporary directory"), files_end_at(0), spooled_rows():
        pass
    stored = place_of("s3://bucket/a.csv")
    with pytest.raises(OutputError, match=r"a\.csv: .*No usable temporary directory"), files_end_at(0):
        write_atomic(stored, iter(["a", "b"]))


def write_beside_one_another(paths: list[Path], full: int) -> None:
    """Write files that are open together; one of them finds no room, before the last."""
    with files_end_at(10_000), ExitStack() as files:
        opened = [files.enter_context(open_atomic(path)) for path in paths]
        for number, file in enumerate(opened):
            file.write(bytes(20_000 if number == full else 10))


@pytest.mark.parametrize("full", range(3))
def test_of_files_that_are_written_together_the_one_that_cannot_grow_is_named(tmp_path, full):
    paths = [tmp_path / "out" / f"{number}.csv" for number in range(3)]
    with pytest.raises(OutputError, match=rf"/{full}\.csv: cannot be written \(File too large\); free some space"):
        write_beside_one_another(paths, full)
    assert not list((tmp_path / "out").iterdir())


def test_what_is_held_back_to_the_end_is_named_as_well(tmp_path):
    rows = [{"a": ["1"] * 50, "b": ["2" * 200] * 50}]
    with pytest.raises(OutputError, match=r"/b\.csv: cannot be written \(File too large\)"), files_end_at(5_000):
        write_tables({tmp_path / "b.csv": ["b"], tmp_path / "a.csv": ["a"]}, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]  # the last one to be opened, whole


def test_of_files_on_their_way_to_a_bucket_the_one_that_cannot_grow_is_named():
    first, second = (place_of(f"s3://bucket/{name}.csv") for name in ("first", "second"))
    with pytest.raises(OutputError, match=r"first\.csv: cannot be gathered in .* \(File too large\); free some space"):
        write_beside_one_another([first, second], 0)


def test_a_file_that_cannot_be_read_is_not_taken_for_the_one_that_is_written(tmp_path):
    for name, error in (("absent", FileNotFoundError), ("n" * 300, OSError)):
        with pytest.raises(error) as raised, open_atomic(tmp_path / "a.csv") as file:
            file.write((tmp_path / name).read_bytes())
        assert not isinstance(raised.value, OutputError)
        assert raised.value.filename == str(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    path = tmp_path / ("n" * 300)
    for write in (make_folder, partial(write_atomic, content=b""), partial(append_text, text="")):
        with pytest.raises(OutputError, match=r"n{300}: cannot be written \(File name too long\)"):
            write(path)
    assert not list(tmp_path.iterdir())


def test_files_below_a_folder_are_those_of_their_names():
    files = Below(Path("/photos"), ["a/b.png", "c\\x0a.png", "d.png"])
    assert list(files) == [Path("/photos/a/b.png"), Path("/photos/c\n.png"), Path("/photos/d.png")]
    assert list(files[1:]) == list(files)[1:]
    assert files[-1] == Path("/photos/d.png")
