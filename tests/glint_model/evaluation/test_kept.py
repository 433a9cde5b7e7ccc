"""Scores that are kept: what is scored again after a stop, and what is not."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glint_label.errors import OutputError
from glint_model.datasets import load_dataset
from glint_model.evaluation.evaluate import score_rated
from glint_model.evaluation.kept import KeptScores
from glint_model.evaluation.score import list_inputs, score_files
from tests.conftest import make_photo, save_photos, save_rated


class Stopped(BaseException):
    """As Ctrl-C."""


class Brightness:
    """Scores images until it is stopped, and counts them."""

    def __init__(self, until: float = np.inf) -> None:
        self.images = 0
        self._until = until

    def __call__(self, pixels: np.ndarray) -> float:
        if self.images == self._until:
            raise Stopped
        self.images += 1
        return float(pixels.mean()) / 3


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return list_inputs([save_photos(tmp_path / "in", [f"{number}.png" for number in range(8)])])


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "scores.csv"


def score(files: list[Path], out: Path, until: float = np.inf, workers: int = 0, **made_with: object):
    """Score files as `score --out` does; the rows, and how many images were scored."""
    scorer = Brightness(until)
    return score_files(files, scorer, workers, kept=KeptScores(out, made_with)), scorer.images


@pytest.fixture
def stopped(files, out) -> Path:
    """A file of the scores of five of eight images."""
    with pytest.raises(Stopped):
        score(files, out, until=5)
    return out.with_name("scores.csv.partial")


@pytest.mark.parametrize("workers", [0, 1])
def test_it_goes_on_where_it_was_and_ends_in_the_same_scores(files, out, stopped, workers):
    rows, scored = score(files, out, workers=workers)
    assert scored == 3
    assert rows == score_files(files, Brightness())


def test_a_changed_image_is_scored_again_even_under_its_old_date_and_a_renamed_one_is_not(files, out, stopped):
    before = files[1].stat()
    Image.fromarray(255 - make_photo(101)).save(files[1], compress_level=0)
    os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    moved = files[2].rename(files[2].with_name("renamed.png"))
    files = [*files[:2], moved, *files[3:]]
    rows, scored = score(files, out)
    assert scored == 4
    assert rows == score_files(files, Brightness())


def test_scores_made_with_other_settings_are_not_taken(files, out, stopped):
    assert score(files, out, crops=5)[1] == 8
    assert score(files, out)[1] == 3  # and do not harm the others


@pytest.mark.parametrize("cut", [1, 30, 90])
def test_a_line_that_was_cut_is_one_image_to_score_again(files, out, stopped, cut):
    stopped.write_bytes(stopped.read_bytes()[:-cut])
    with pytest.raises(Stopped):
        score(files, out, until=2)
    rows, scored = score(files, out)
    assert scored == 2
    assert rows == score_files(files, Brightness())


def test_what_is_no_line_of_ours_is_passed_over(files, out, stopped):
    strange = ["\0\0\0", "5", "[1]", '"abc"', '{"a": 1, "b": 2, "c": 3}', '["a", "b", "c"]']
    stopped.write_text("\n".join([*strange, stopped.read_text(), *strange]))
    assert score(files, out)[1] == 3


def test_an_image_without_a_score_is_tried_again(files, out):
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:200])
    assert "truncated" in score(files, out)[0][0].error
    files[0].write_bytes(whole)
    rows, scored = score(files, out)
    assert scored == 1
    assert rows == score_files(files, Brightness())
    files[0].unlink()
    assert "No such file" in score(files, out)[0][0].error


@pytest.mark.slow
def test_images_made_from_recipes_go_by_their_recipe(tmp_path, out):
    rated = load_dataset("custom", save_rated(tmp_path, anchors=2, distortions=("impulse_noise", "jpeg")))
    with pytest.raises(Stopped):
        score_rated(rated, Brightness(13), "regenerate", kept=KeptScores(out))
    last = Brightness()
    found = score_rated(rated, last, "regenerate", kept=KeptScores(out), workers=1)
    assert last.images == 20 - 13
    assert found.equals(score_rated(rated, Brightness(), "regenerate"))
    other = Brightness()
    score_rated(rated, other, "regenerate", seed=1, kept=KeptScores(out))
    assert other.images == 20
    Image.fromarray(make_photo(77)).save(tmp_path / "anchors" / "a1.png")
    changed = Brightness()
    score_rated(rated, changed, "regenerate", kept=KeptScores(out))
    assert changed.images == 10


def test_it_is_removed_at_the_end_and_never_made_without_an_output(files, out, stopped):
    kept = KeptScores(out, {})
    score_files(files, Brightness(), kept=kept)
    assert kept.reused == 5
    assert len(stopped.read_text().split()) == 3 * 8
    kept.remove()
    assert not stopped.exists()
    kept.remove()
    score_files(files, Brightness(), kept=KeptScores())
    assert not list(out.parent.glob("*.partial"))


def test_a_file_that_cannot_be_read_or_written_is_one_line(files, out):
    with pytest.raises(OutputError, match="cannot be written"):
        score(files, Path("/proc/nowhere/scores.csv"))
    out.with_name("scores.csv.partial").mkdir()
    with pytest.raises(OutputError, match=r"scores\.csv\.partial: cannot be read .* remove it"):
        score(files, out)


def test_every_score_is_on_the_disk_before_the_next_is_made(files, out):
    partial = out.with_name("scores.csv.partial")
    seen = []

    def scorer(pixels: np.ndarray) -> float:
        lines = partial.read_text().splitlines()[1:] if partial.exists() else []
        seen.append(len([json.loads(line) for line in lines]))
        return float(pixels.mean())

    score_files(files, scorer, kept=KeptScores(out))
    assert seen == list(range(8))
