"""Rated datasets: what is read, and what is refused with which words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from glint_label.errors import SourceError, UsageError
from glint_label.sources import kadid10k, load_source, tid2013


@pytest.fixture
def kadid(tmp_path: Path) -> Path:
    """A complete KADID-10k with made-up scores and tiny anchors."""
    (tmp_path / "images").mkdir()
    rows = []
    for anchor in kadid10k.ANCHORS:
        Image.new("RGB", (64, 64)).save(tmp_path / "images" / f"{anchor}.png")
        rows += [
            f"{anchor}_{number:02d}_{level:02d}.png,{anchor}.png,{5 - level * 0.8:.2f},0.49"
            for number in range(1, 26)
            for level in range(1, 6)
        ]
    (tmp_path / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *rows]) + "\n")
    return tmp_path


def edit(path: Path, line: int, change) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = change(lines[line - 1])
    path.write_text("\n".join(line for line in lines if line is not None) + "\n")


def test_kadid10k_is_read_whole(kadid):
    source = load_source("kadid10k", kadid)
    assert len(source.anchors) == 81
    assert len(source.ratings) == 10_125
    assert source.mos_range == (1, 5)
    assert source.conditions[:6] == [("gaussian_blur", level) for level in range(1, 6)] + [("lens_blur", 1)]
    assert source.scores(source.conditions).shape == (81, 125)
    assert source.ratings["std"].iloc[0] == pytest.approx(0.7)


def test_kadid10k_names_are_those_of_the_distortions():
    from glint_label.distortions import DISTORTIONS

    order = {distortion.name: distortion.number for distortion in DISTORTIONS.values()}
    assert order == {name: number for number, name in enumerate(kadid10k.DISTORTIONS, start=1)}
    assert all(len(distortion.amounts) == len(kadid10k.LEVELS) for distortion in DISTORTIONS.values())


def test_a_missing_anchor_is_named_and_can_be_allowed(kadid):
    (kadid / "images" / "I04.png").unlink()
    with pytest.raises(SourceError, match=r"1 of 81 anchors are missing .* I04.png; .* --allow-missing-anchors"):
        load_source("kadid10k", kadid)
    source = load_source("kadid10k", kadid, allow_missing_anchors=True)
    assert source.missing_anchors == ("I04",)
    assert len(source.ratings) == 10_000


DAMAGE = {
    "a missing column": (1, lambda line: line.replace("dmos", "score"), "has no column 'dmos'"),
    "no score": (7, lambda line: line.replace("4.20", "nan"), "line 7: has no score"),
    "a word for a score": (7, lambda line: line.replace("4.20", "good"), "line 7: dmos is 'good', not a number"),
    "a score out of range": (
        9,
        lambda line: line.replace(",2.60,", ",5.20,"),
        r"line 9: has a score outside 1 \.\. 5",
    ),
    "an infinite score": (9, lambda line: line.replace(",2.60,", ",inf,"), "line 9: dmos is 'inf'"),
    "a duplicate row": (3, lambda line: f"{line}\n{line}", "line 4: rates the same image a second time"),
    "a missing row": (5, lambda line: None, "misses 1 of 10125 rows, first I01, gaussian_blur, level 4"),
    "another dataset's row": (5, lambda line: "i01_01_4.bmp,I01.BMP,3.0,0.5", "line 5: 'i01_01_4.bmp'"),
    "swapped columns": (5, lambda line: line.replace(",I01.png", ",I02.png"), "line 5: .* is not an image of KADID"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_ratings_are_refused_with_file_and_line(kadid, damage):
    line, change, words = DAMAGE[damage]
    edit(kadid / "dmos.csv", line, change)
    with pytest.raises(SourceError, match=words) as caught:
        load_source("kadid10k", kadid)
    assert "dmos.csv" in str(caught.value)


def test_the_wrong_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"dmos\.csv: no such file"):
        load_source("kadid10k", tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        load_source("kadid10k", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="unknown source 'koniq'; known are kadid10k, tid2013, custom"):
        load_source("koniq", tmp_path)


def test_a_source_is_looked_for_where_the_design_says(tmp_path, monkeypatch, kadid):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLINT_DATA", str(tmp_path / "data"))
    with pytest.raises(SourceError, match=r"no such folder, though \$GLINT_DATA is set"):
        load_source("kadid10k")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kadid10k").symlink_to(kadid)
    assert len(load_source("kadid10k").anchors) == 81


@pytest.fixture
def tid(tmp_path: Path) -> Path:
    (tmp_path / "reference_images").mkdir()
    scores, deviations = [], []
    for number in range(1, 26):
        # Copies of the dataset differ in the case of their file names.
        name = f"I{number:02d}.BMP" if number < 25 else "i25.bmp"
        Image.new("RGB", (64, 64)).save(tmp_path / "reference_images" / name, "BMP")
        for kind in range(1, 25):
            for level in range(1, 6):
                scores.append(f"{8 - level:.5f} {'iI'[number % 2]}{number:02d}_{kind:02d}_{level}.bmp")
                deviations.append("0.12345")
    (tmp_path / "mos_with_names.txt").write_text("\r\n".join(scores) + "\r\n")
    (tmp_path / "mos_std.txt").write_text("\n".join(deviations) + "\n")
    return tmp_path


def test_tid2013_is_read_whole(tid):
    source = load_source("tid2013", tid)
    assert len(source.anchors) == 25
    assert source.scores(source.conditions).shape == (25, 120)
    assert source.mos_range == (0, 9)
    assert set(source.distortions).isdisjoint(kadid10k.DISTORTIONS)
    assert len(tid2013.DISTORTIONS) == 24


def test_tid2013_with_files_of_different_length_is_refused(tid):
    (tid / "mos_std.txt").write_text("0.1\n")
    with pytest.raises(SourceError, match=r"mos_std\.txt: 1 lines, but mos_with_names\.txt has 3000"):
        load_source("tid2013", tid)


def custom(folder: Path, text: str) -> Path:
    for name in ("a.png", "b,c.png"):
        Image.new("RGB", (64, 64)).save(folder / name)
    (folder / "ratings.csv").write_text(text)
    return folder


def test_custom_ratings_need_neither_std_nor_every_cell(tmp_path):
    text = 'level,anchor,distortion,mos\n1,a.png,blur,40\n2,a.png,blur,20\n1,"b,c.png",blur,70\n'
    source = load_source("custom", custom(tmp_path, text))
    assert source.mos_range == (20, 70)
    expected = [[40, 20], [70, np.nan]]
    np.testing.assert_array_equal(source.scores([("blur", 1), ("blur", 2)]), expected)
    assert load_source("custom", tmp_path, mos_range=(0, 100)).mos_range == (0, 100)


@pytest.mark.parametrize(("mos_range", "expected"), [(None, [[20, 40]]), ((0, 100), [[60, 80]])])
def test_scores_of_which_higher_is_worse_are_turned_within_their_range(tmp_path, mos_range, expected):
    folder = custom(tmp_path, "anchor,distortion,level,mos,std\na.png,blur,1,40,3\na.png,blur,2,20,3\n")
    source = load_source("custom", folder, mos_range=mos_range, higher_is_worse=True)
    np.testing.assert_array_equal(source.scores([("blur", 1), ("blur", 2)]), expected)
    assert source.mos_range == (mos_range or (20, 40))
    assert set(source.ratings["std"]) == {3}
    with pytest.raises(UsageError, match="--higher-is-worse is for your own ratings; the scale of tid2013"):
        load_source("tid2013", folder, higher_is_worse=True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("../secret.png,blur,1,3", "lies outside"),
        ("/etc/passwd,blur,1,3", "lies outside"),
        ("circle,blur,1,3", "lies outside"),
        (
            f"a.png,blur,1,3\n{'n' * 300}.png,blur,1,2",
            r"ratings\.csv, line 3: the anchor .* is longer than any",
        ),
        ("a.png,blur,1.5,3", "not a whole number from 1"),
        ("a.png,blur,0,3", "not a whole number from 1"),
        ("a.png,,1,3", "distortion is empty"),
        ("a.png,blur,1,3\nnone.png,blur,1,2", r"1 of 2 anchors are missing .* none\.png"),
        ("a.png,blur,1,3\na.png,blur,1,2", "line 3: rates the same image a second time"),
    ],
)
def test_bad_custom_ratings_are_refused(tmp_path, row, words):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(SourceError, match=words):
        load_source("custom", custom(tmp_path, f"anchor,distortion,level,mos\n{row}\n"))


def test_a_mos_range_must_hold_the_scores_and_belong_to_custom(tmp_path):
    folder = custom(tmp_path, "anchor,distortion,level,mos\na.png,blur,1,30\n")
    with pytest.raises(SourceError, match=r"outside 1 \.\. 5"):
        load_source("custom", folder, mos_range=(1, 5))
    with pytest.raises(UsageError, match="must be two numbers, the lower one first"):
        load_source("custom", folder, mos_range=(5, 1))
    with pytest.raises(UsageError, match="declares its own range"):
        load_source("kadid10k", folder, mos_range=(1, 5))


def test_excluded_anchors_leave_with_their_ratings(kadid):
    source = load_source("kadid10k", kadid).without_anchors(["I13", "I76"])
    assert len(source.anchors) == 79
    assert not set(source.ratings["anchor"]) & {"I13", "I76"}
    with pytest.raises(SourceError, match="has no anchor 'I99'"):
        source.without_anchors(["I99"])


def test_the_real_dataset_has_the_published_variance_shares(shared):
    source = load_source("kadid10k", shared / "data" / "kadid10k", allow_missing_anchors=True)
    scores = source.scores(source.conditions)
    cell_share = scores.mean(axis=0).var() / scores.var()
    assert source.missing_anchors == ("I04",)
    assert cell_share == pytest.approx(0.89, abs=0.005)
    assert pd.Series(scores[:, :5].mean(axis=0)).is_monotonic_decreasing  # Gaussian blur gets worse
