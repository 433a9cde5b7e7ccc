"""Files below the rooms: rows that wait on the disk, and paths that are made when they are asked for."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from glint_label.errors import OutputError
from glint_label.files import spooled_rows
from glint_label.names import Below


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


def test_files_below_a_folder_are_those_of_their_names():
    files = Below(Path("/photos"), ["a/b.png", "c\\x0a.png", "d.png"])
    assert list(files) == [Path("/photos/a/b.png"), Path("/photos/c\n.png"), Path("/photos/d.png")]
    assert list(files[1:]) == list(files)[1:]
    assert files[-1] == Path("/photos/d.png")
