"""Scoring files and folders: order, bad images, workers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glint_label.errors import InputError
from glint_label.images import read_photo
from glint_model.evaluation.score import list_inputs, score_files
from tests.conftest import save_photos, save_sized


def brightness(pixels: np.ndarray) -> float:
    return float(pixels.mean())


def test_files_come_as_given_and_folders_sorted_each_file_once(tmp_path):
    save_photos(tmp_path, ["z.png", "in/b.png", "in/sub/a.jpg", "in/a.png", "in/.hidden.png"])
    (tmp_path / "in" / "notes.txt").touch()
    found = list_inputs([tmp_path / "z.png", tmp_path / "in", tmp_path / "in" / "b.png"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "z.png",
        "in/a.png",
        "in/b.png",
        "in/sub/a.jpg",
    ]
    with pytest.raises(InputError, match=r"nowhere\.png: no such file or folder"):
        list_inputs([tmp_path / "z.png", tmp_path / "nowhere.png"])


def test_a_bad_image_is_a_row_with_its_reason_and_workers_change_nothing(tmp_path):
    save_photos(tmp_path, ["a.png", "b.png", "c.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    (tmp_path / "d.png").touch()
    files = list_inputs([tmp_path])
    rows = score_files(files, brightness)
    assert [Path(row.file_name).name for row in rows] == ["a.png", "b.png", "c.png", "d.png"]
    assert [np.isnan(row.score) for row in rows] == [False, True, False, True]
    assert "truncated or damaged" in rows[1].error
    assert "the file is empty" in rows[3].error
    again = score_files(files, brightness, workers=1)
    assert [(row.file_name, row.error) for row in again] == [(row.file_name, row.error) for row in rows]
    assert again[0].score == rows[0].score


@pytest.mark.usefixtures("broken_decoders")
def test_a_photo_that_no_worker_survives_is_a_row_with_its_reason(tmp_path):
    save_photos(tmp_path, ["a.png", "c.png"])
    save_sized(tmp_path / "b.png", 101)
    rows = score_files(list_inputs([tmp_path]), brightness, workers=1)
    assert [np.isnan(row.score) for row in rows] == [False, True, False]
    assert rows[1].error == f"{tmp_path / 'b.png'}: the process that worked on it died, twice"


def test_a_picture_that_does_not_fit_into_memory_is_a_row_with_its_reason(tmp_path):
    save_photos(tmp_path, ["a.png", "b.png"])

    def scorer(pixels: np.ndarray) -> float:
        if (pixels == first).all():
            torch.empty(1 << 50)
        return brightness(pixels)

    first = read_photo(tmp_path / "a.png").pixels
    rows = score_files(list_inputs([tmp_path]), scorer)
    assert [np.isnan(row.score) for row in rows] == [True, False]
    assert "not enough memory to score it" in rows[0].error


def test_a_network_without_a_number_is_a_row_with_its_reason(tmp_path):
    save_photos(tmp_path, ["a.png"])
    (row,) = score_files([tmp_path / "a.png"], lambda pixels: float("inf"))
    assert "non-finite score (inf)" in row.error
