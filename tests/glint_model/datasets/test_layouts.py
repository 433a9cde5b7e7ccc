"""Official layouts, as their authors ship them and as people have them."""

import csv
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from glint_label.errors import InputError, SourceError
from glint_model.datasets import load_dataset
from glint_model.evaluation.evaluate import choose_images, score_rated
from tests.glint_model.datasets.conftest import (
    csiq_rows,
    only_there,
    rows_of,
    save_images,
    save_lines,
)


def test_kadid10k(kadid):
    rated = load_dataset("kadid10k", kadid)
    assert (len(rated.images), rated.left_out, rated.mos_range) == (250, 79 * 125, (1, 5))
    found = {"file_name": "images/I02_07_03.png", "mos": 2.6, "group": "I02"}
    assert only_there(rated) == [{**found, "distortion": "color_saturation_hsv", "level": 3}]
    assert "higher is better" in rated.scale


def test_tid2013_in_either_case(tid):
    rated = load_dataset("tid2013", tid)
    assert (len(rated.images), rated.left_out, rated.mos_range) == (3000, 0, (0, 9))
    (found,) = only_there(rated)
    assert (found["file_name"], found["group"]) == ("distorted_images/I03_08_2.BMP", "I03")
    assert (found["distortion"], found["level"]) == ("tid_gaussian_blur", 2)
    assert "distorted_images/i01_01_1.bmp" in rows_of(rated).index


def test_live_turns_its_dmos_round_and_leaves_copies_of_references_out(live_release_2):
    rated = load_dataset("live", live_release_2)
    images = rows_of(rated)
    assert len(images) == 982 - 3
    assert "jp2k/img1.bmp" not in images.index
    assert "fastfading/img174.bmp" not in images.index
    second, last = images.loc["jp2k/img2.bmp"], images.loc["fastfading/img173.bmp"]
    assert second["mos"] == pytest.approx(100 + 2.6 - 114.4 / 981)
    assert second["mos"] > last["mos"]  # a larger DMOS is a worse image
    assert (second["group"], second["distortion"]) == ("ref1.bmp", "jp2k")
    assert images.loc["jpeg/img1.bmp", "group"] == f"ref{227 % 29}.bmp"
    assert "lower is better" in rated.scale
    assert [row["file_name"] for row in only_there(rated)] == [
        "jp2k/img2.bmp",
        "jpeg/img1.bmp",
        "fastfading/img173.bmp",
    ]


def test_csiq(csiq_release):
    rated = load_dataset("csiq", csiq_release)
    images = rows_of(rated)
    assert (len(images), rated.mos_range) == (866, (0, 1))
    noisy = images.loc["dst_imgs/awgn/1600.AWGN.2.png"]
    assert noisy["mos"] == pytest.approx(1 - 2 / 5)
    assert (noisy["group"], noisy["distortion"], noisy["level"]) == ("1600", "awgn", 2)
    assert rated.images["group"].nunique() == 30
    assert len(only_there(rated)) == 2


@pytest.mark.parametrize("folder", ["dst_imgs_all", "dst_imgs", "dst_imgs/Blur", "DST_IMGS/BLUR"])
def test_csiq_images_in_other_folders(csiq_release, folder):
    shutil.rmtree(csiq_release / "dst_imgs")
    save_images(csiq_release, f"{folder}/content_00.BLUR.4.PNG")
    (found,) = only_there(load_dataset("csiq", csiq_release))
    assert (found["file_name"], found["distortion"]) == (f"{folder}/content_00.BLUR.4.PNG", "blur")


def test_csiq_workbook_under_its_first_name(csiq_release):
    expected = load_dataset("csiq", csiq_release).images
    (csiq_release / "csiq.DMOS.xlsx").rename(csiq_release / "csiq.beta.xlsx")
    assert load_dataset("csiq", csiq_release).images.equals(expected)


def as_saved(cell: object, decimal: str) -> str:
    return "" if cell is None else str(cell).replace(".", decimal) if isinstance(cell, float) else str(cell)


@pytest.mark.parametrize(
    ("separator", "decimal", "end"), [(",", ".", "\n"), (";", ",", "\r\n"), (",", ",", "\n"), ("\t", ",", "\r\n")]
)
@pytest.mark.parametrize("kinds", [{}, {"noise": "AWGN", "jpeg 2000": "jpeg2000", "blur": " BLUR "}])
def test_csiq_from_a_csv_as_spreadsheets_save_it(csiq_release, separator, decimal, end, kinds):
    expected = load_dataset("csiq", csiq_release).images
    (csiq_release / "csiq.DMOS.xlsx").unlink()
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end)
    for row in csiq_rows():
        writer.writerow([kinds.get(text, text) for text in (as_saved(cell, decimal) for cell in row)])
    text = buffer.getvalue().replace("dst_type", "Dst_Type ")
    (csiq_release / "csiq.DMOS.csv").write_bytes(text.encode("utf-8-sig"))
    assert load_dataset("csiq", csiq_release).images.equals(expected)


def test_koniq10k_takes_the_size_that_is_there(koniq):
    rated = load_dataset("koniq10k", koniq)
    (found,) = only_there(rated)
    assert (found["file_name"], found["mos"], found["group"]) == ("512x384/7.jpg", 10.9, "512x384/7.jpg")
    assert (found["distortion"], found["level"], len(rated.images)) == ("", 0, 10_073)
    save_images(koniq, "1024x768/9.jpg")
    assert only_there(load_dataset("koniq10k", koniq))[0]["file_name"] == "1024x768/9.jpg"


def test_koniq10k_from_its_other_label_files(koniq):
    official = koniq / "koniq10k_scores_and_distributions.csv"
    expected = load_dataset("koniq10k", koniq).images
    text = official.read_text().replace('"', "")
    official.unlink()
    (koniq / "koniq10k_scores.csv").write_text(text)
    assert load_dataset("koniq10k", koniq).images.equals(expected)
    (koniq / "koniq10k_scores.csv").unlink()
    # The authors' split calls the same opinion MOS.
    split = [line.split(",") for line in text.splitlines()]
    save_lines(
        koniq / "koniq10k_distributions_sets.csv",
        ["image_name,MOS,set", *(f"{cells[0]},{cells[-1]},test" for cells in split[1:])],
    )
    rated = load_dataset("koniq10k", koniq)
    assert rated.images.equals(expected)
    assert "MOS as it is" in rated.scale


def test_koniq10k_mean_ratings_are_on_their_own_scale(koniq):
    label_file = koniq / "koniq10k_scores_and_distributions.csv"
    lines = label_file.read_text().splitlines()
    save_lines(label_file, [line.rpartition(",")[0] for line in lines])
    rated = load_dataset("koniq10k", koniq)
    assert (rated.mos_range, rated.images["mos"].iloc[0]) == ((1, 5), 3.1)
    assert rated.scale == "the column MOS as it is, higher is better"
    save_lines(label_file, [line.partition(",")[0] for line in lines])
    with pytest.raises(SourceError, match="has no column MOS_zscore or MOS"):
        load_dataset("koniq10k", koniq)


def test_clive_leaves_the_raters_training_images_out(challenge):
    rated = load_dataset("clive", challenge)
    assert len(rated.images) == 1162
    assert [row["file_name"] for row in only_there(rated)] == ["Images/0.bmp"]
    assert rated.images["mos"].iloc[0] == pytest.approx(3 + 89 * 7 / 1168)


def test_spaq(spaq_release):
    rated = load_dataset("spaq", spaq_release)
    (found,) = only_there(rated)
    assert (found["file_name"], found["mos"]) == ("TestImage/00002.jpg", 7.5)
    assert len(rated.images) == 11_125


def test_spaq_images_that_are_png_inside_are_read(spaq_saved_as_csv):
    pixels = np.full((64, 64, 3), 7, dtype=np.uint8)
    pixels[:32] = 90
    Image.fromarray(pixels).save(spaq_saved_as_csv / "TestImage" / "00002.jpg", "PNG")
    there, _ = choose_images(load_dataset("spaq", spaq_saved_as_csv), "disk", allow_missing=True)
    assert score_rated(there, lambda image: float(np.abs(image - pixels).max()))["score"].tolist() == [0]


FIXTURES = {
    "kadid10k": "kadid",
    "tid2013": "tid",
    "csiq": "csiq_release",
    "live": "live_release_2",
    "koniq10k": "koniq",
    "clive": "challenge",
    "spaq": "spaq_saved_as_csv",
}


@pytest.mark.parametrize("name", FIXTURES)
def test_names_are_found_in_any_case_and_one_folder_further_in(name, request):
    root = request.getfixturevalue(FIXTURES[name])
    official = load_dataset(name, root)
    expected = [row["file_name"].swapcase() for row in only_there(official)]
    for path in sorted(root.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.swapcase()))
    inner = root / "unpacked"
    inner.mkdir()
    for path in [path for path in root.iterdir() if path != inner]:
        path.rename(inner / path.name)
    (root / "__MACOSX").mkdir()
    copy = load_dataset(name, root)
    assert copy.root == inner
    assert copy.images.drop(columns="file_name").equals(official.images.drop(columns="file_name"))
    assert [row["file_name"] for row in only_there(copy)] == expected
    if official.source is not None:
        assert list(copy.source.anchors) == list(official.source.anchors)


def test_of_two_folders_none_is_preferred(koniq):
    for name in ("one", "two"):
        (koniq / name).mkdir()
        shutil.copy(koniq / "koniq10k_scores_and_distributions.csv", koniq / name)
    (koniq / "koniq10k_scores_and_distributions.csv").unlink()
    with pytest.raises(SourceError, match=r"no such file, nor is koniq10k_scores\.csv or .* there; --data-dir"):
        load_dataset("koniq10k", koniq)


@pytest.mark.parametrize(("name", "references"), [("kadid10k", "images/I??.png"), ("tid2013", "reference_images/*")])
def test_images_on_the_disk_are_read_without_their_references(name, references, request):
    root = request.getfixturevalue(FIXTURES[name])
    expected = only_there(load_dataset(name, root))
    for path in root.glob(references):
        path.unlink()
    rated = load_dataset(name, root)
    assert only_there(rated) == expected
    _, missing = choose_images(rated, "disk", allow_missing=True)
    assert missing + len(expected) == {"kadid10k": 10_125, "tid2013": 3000}[name]
    (root / expected[0]["file_name"]).unlink()
    with pytest.raises(InputError, match=r"none of its .* images is there, first"):
        only_there(load_dataset(name, root))


def test_making_images_needs_their_anchor(kadid):
    (kadid / "images" / "I02.png").unlink()
    rated = load_dataset("kadid10k", kadid)
    assert (len(rated.images), rated.left_out) == (126, 80 * 125 - 1)
    there, missing = choose_images(rated, "regenerate", allow_missing=True)
    assert set(there.images["group"]) == {"I01"}
    assert missing == 81 * 125 - len(there.images)
    with pytest.raises(SourceError, match="the anchor I02 is not there, and its images cannot be made without it"):
        score_rated(rated.select(["I02"]), np.mean, "regenerate")
