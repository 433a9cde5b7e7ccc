"""What all datasets share: any table, choices, missing images, faults in label files."""

import sys
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from glint_label.errors import InputError, SourceError, UsageError
from glint_model.datasets import DATASETS, load_dataset
from glint_model.evaluation.evaluate import choose_images
from tests.conftest import save_rated
from tests.glint_model.datasets.conftest import csiq_rows, save_images, save_lines, save_workbook


def test_any_table(tmp_path):
    save_lines(tmp_path / "mine.csv", ["mos,file_name,group,note", "3,a.png,x,", "4.5,sub/b.png,x,hm", "1,c.png,,"])
    save_images(tmp_path, "a.png", "sub/b.png", "c.png")
    rated = load_dataset(str(tmp_path / "mine.csv"))
    assert rated.images["group"].tolist() == ["x", "x", "c.png"]
    assert (rated.mos_range, rated.distortions, rated.missing()) == ((1, 4.5), (), [])
    elsewhere = load_dataset(str(tmp_path / "mine.csv"), tmp_path / "sub")
    assert elsewhere.missing() == ["a.png", "sub/b.png", "c.png"]
    save_lines(tmp_path / "mine.csv", ["file_name,mos,distortion,level", "a.png,3,blur,2", "c.png,1,noise,"])
    rated = load_dataset(str(tmp_path / "mine.csv"))
    assert (rated.distortions, rated.images["level"].tolist()) == (("blur", "noise"), [2, 0])


@pytest.mark.parametrize("heading", ["group", "Reference", "ref_img"])
def test_the_content_of_an_image_has_the_names_that_people_give_it(tmp_path, caplog, heading):
    save_lines(
        tmp_path / "mine.csv", [f"file_name,mos,{heading},distortion", "a.png,3,x.png,blur", "b.png,1,x.png,fog"]
    )
    assert load_dataset(str(tmp_path / "mine.csv")).images["group"].tolist() == ["x.png", "x.png"]
    assert not caplog.text


def test_a_table_that_tells_distortions_and_no_contents_is_doubted(tmp_path, caplog):
    save_lines(tmp_path / "mine.csv", ["file_name,mos,distortion", "a.png,3,blur", "b.png,1,fog"])
    assert load_dataset(str(tmp_path / "mine.csv")).images["group"].tolist() == ["a.png", "b.png"]
    assert "names distortions but no contents" in caplog.text


def test_two_columns_of_contents_must_agree(tmp_path):
    rows = ["a.png,3,x,r1", "b.png,1,x,r1", "c.png,2,y,r2"]
    save_lines(tmp_path / "mine.csv", ["file_name,mos,reference,group", *rows])
    assert load_dataset(str(tmp_path / "mine.csv")).images["group"].tolist() == ["r1", "r1", "r2"]
    save_lines(tmp_path / "mine.csv", ["file_name,mos,reference,group", *rows, "d.png,2,y,r1"])
    with pytest.raises(
        SourceError, match="its columns 'group' and 'reference' sort the images into different contents"
    ):
        load_dataset(str(tmp_path / "mine.csv"))


def test_scores_of_which_higher_is_worse_are_turned_within_their_range(tmp_path):
    save_lines(tmp_path / "mine.csv", ["file_name,mos", "a.png,0.1", "b.png,0.7", "c.png,0.3"])
    rated = load_dataset(str(tmp_path / "mine.csv"), higher_is_worse=True)
    assert rated.images["mos"].tolist() == pytest.approx([0.7, 0.1, 0.5])
    assert rated.mos_range == (0.1, 0.7)
    assert rated.scale == "the column mos turned round, as higher is worse there (--higher-is-worse)"
    plain = load_dataset("custom", save_rated(tmp_path, anchors=2)).images["mos"]
    turned = load_dataset("custom", tmp_path, higher_is_worse=True)
    assert turned.images["mos"].tolist() == pytest.approx((plain.min() + plain.max() - plain).tolist())
    assert turned.scale.startswith("the scores turned round")
    with pytest.raises(UsageError, match="--higher-is-worse is for your own ratings; the scale of live is known"):
        load_dataset("live", higher_is_worse=True)


def test_a_table_is_read_as_spreadsheets_and_editors_save_it(tmp_path):
    save_images(tmp_path, "a.PNG", "Sub/b.png")
    lines = ["File_Name ;MOS;Level", " a.png ;3,25;2", "", "sub/b.PNG;4;", ";;"]
    (tmp_path / "mine.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    rated = load_dataset(str(tmp_path / "mine.csv"))
    assert rated.images["file_name"].tolist() == ["a.PNG", "Sub/b.png"]
    assert (rated.images["mos"].tolist(), rated.images["level"].tolist()) == ([3.25, 4], [2, 0])


def test_two_names_that_differ_in_case_alone_are_two_images(tmp_path):
    save_lines(tmp_path / "mine.csv", ["file_name,mos", "a.png,1", "A.png,2"])
    save_images(tmp_path, "a.png")
    assert load_dataset(str(tmp_path / "mine.csv")).missing() == ["A.png"]
    save_images(tmp_path, "A.png")
    assert load_dataset(str(tmp_path / "mine.csv")).missing() == []


def test_ratings_are_read_with_byte_order_mark_and_decimal_commas(kadid, tid):
    for name, label_file in (("kadid10k", "dmos.csv"), ("tid2013", "mos_with_names.txt")):
        expected = load_dataset(name, kadid).images
        text = (kadid / label_file).read_text().replace(",", ";")
        text = text.replace(".", ",").replace(",png", ".PNG ").replace(",bmp", ".bmp")
        (kadid / label_file).write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
        assert load_dataset(name, kadid).images.equals(expected)


def test_contents_and_distortions_can_be_chosen(kadid):
    rated = load_dataset("kadid10k", kadid)
    chosen = rated.select(["I02"], ["1", "color_saturation_hsv"])
    assert len(chosen.images) == 10
    assert set(chosen.images["distortion"]) == {"gaussian_blur", "color_saturation_hsv"}
    assert (chosen.left_out, rated.select(distortions=["jpeg"]).left_out) == (0, 79 * 5)
    with pytest.raises(UsageError, match=r"no images of 'I99'; its contents are I01, I02 \(2\)"):
        rated.select(["I99"])
    with pytest.raises(UsageError, match="no distortion 'fog'; known are gaussian_blur, lens_blur"):
        rated.select(distortions=["fog"])


def test_missing_images_are_counted_and_can_be_allowed(kadid):
    rated = load_dataset("kadid10k", kadid)
    with pytest.raises(InputError, match=r"10,124 of 10,125 images are missing from .*, first images/I01_01_01.png"):
        choose_images(rated, "disk", allow_missing=False)
    kept, missing = choose_images(rated, "disk", allow_missing=True)
    assert (len(kept.images), missing) == (1, 10_124)
    with pytest.raises(InputError, match="9,875 of 10,125 images are missing"):
        choose_images(rated, "regenerate", allow_missing=False)
    assert len(choose_images(rated.select(["I02"]), "regenerate", allow_missing=False)[0].images) == 125
    with pytest.raises(InputError, match=r"none of its 125 images is there, first .*I01_01_01.png"):
        choose_images(rated.select(["I01"]), "disk", allow_missing=True)


def test_pixels_are_made_only_of_what_can_be_made(tid, tmp_path):
    with pytest.raises(UsageError, match=r"its distortion 'tid_.*cannot be made here"):
        choose_images(load_dataset("tid2013", tid), "regenerate", allow_missing=False)
    save_lines(tmp_path / "mine.csv", ["file_name,mos", "a.png,3"])
    with pytest.raises(UsageError, match="its images cannot be made here"):
        choose_images(load_dataset(str(tmp_path / "mine.csv")), "regenerate", allow_missing=False)


def test_own_ratings_are_a_dataset_whose_pixels_can_be_made(tmp_path):
    rated = load_dataset("custom", save_rated(tmp_path, anchors=2))
    assert len(choose_images(rated, "regenerate", allow_missing=False)[0].images) == 2 * 2 * 5


@pytest.mark.parametrize("name", DATASETS)
def test_another_folder_is_refused_in_one_line_that_names_the_flag(name, tmp_path):
    with pytest.raises(SourceError, match="--data-dir") as caught:
        load_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"nowhere: no such folder; .* --data-dir"):
        load_dataset(name, tmp_path / "nowhere")


def test_an_unknown_dataset_is_refused_with_those_known():
    with pytest.raises(UsageError, match=r"unknown dataset 'pipal'; known are kadid10k, .* and any FILE\.csv"):
        load_dataset("pipal")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file_name", "a.png"], "has no column 'mos'"),
        (["file_name,mos", "a.png,good"], "line 2: mos is 'good', not a number"),
        (["file_name,mos", "a.png,1", "b.png,"], "line 3: has no score"),
        (["file_name,mos", "a.png,1", "a.png,2"], "line 3: rates the same image a second time"),
        (["file_name,mos", "../a.png,1"], "line 2: names an image outside the dataset"),
        (["file_name,mos", "/etc/a.png,1"], "line 2: names an image outside the dataset"),
        (["file_name,mos", "a.png,1", f"{'n' * 300},2"], "line 3: has a name longer than any file's"),
        (["file_name,mos", ",1"], "line 2: names no image"),
        (["file_name,mos,level", "a.png,1,1.5"], "line 2: level is '1.5', not a whole number"),
        (["file_name,mos"], "holds no ratings"),
        ([], "is empty; it must have a line that names file_name, mos"),
        (["file_name,mos", "a.png,1,5", "b.png,2,5"], "line 2: has 3 cells, but line 1 names 2"),
        (["file_name,mos", 'a.png,"1,234"', 'b.png,"2,345"'], "line 2: mos is '1,234', not a number; write decimals"),
        (["file_name,mos", 'a.png,"1,5"', "b.png,1.5"], "line 2: mos is '1,5', not a number; write decimals"),
        (["file_name,mos", '"a.png,1', "b.png,2"], r"not a readable CSV \(unexpected end of data\); save it as CSV"),
    ],
)
def test_a_table_with_faults_is_refused_with_its_line(lines, words, tmp_path):
    save_lines(tmp_path / "mine.csv", lines)
    with pytest.raises(SourceError, match=words):
        load_dataset(str(tmp_path / "mine.csv"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "lines",
    [
        ["file_name,mos", "ä.png,1", "–.png,2.5"],
        ["file_name,mos,", "ä.png,1,", "–.png,2.5,"],
        [",file_name,mos", "0,ä.png,1", "1,–.png,2.5"],
        ["Unnamed: 0,file_name,mos", "0,ä.png,1", "1,–.png,2.5"],
        ["file_name,mos", "1,ä.png,1", "2,–.png,2.5"],
        ["file_name;mos;", "ä.png;1;", "–.png;2,5;"],
        [";file_name;mos", "1;ä.png;1", "2;–.png;2,5"],
        ["file_name\tmos", "ä.png\t1", "–.png\t2,5"],
    ],
    ids=["plain", "trailing", "pandas", "saved twice", "R", "semicolons", "index", "tabs"],
)
def test_a_table_is_read_as_programs_write_it(lines, encoding, tmp_path):
    if encoding == "latin-1":
        lines = [line.replace("–", "ø") for line in lines]
    names = ["ä.png", "ø.png" if encoding == "latin-1" else "–.png"]
    (tmp_path / "mine.csv").write_bytes("\r\n".join(lines).encode(encoding))
    images = load_dataset(str(tmp_path / "mine.csv")).images
    assert images["file_name"].tolist() == names
    assert images["mos"].tolist() == [1, 2.5]


def test_numbers_for_names_and_commas_at_the_end_are_no_column_of_numbers(tmp_path):
    save_lines(tmp_path / "mine.csv", ["file_name,mos", "1,4,", "2,3,"])
    assert load_dataset(str(tmp_path / "mine.csv")).images["file_name"].tolist() == ["1", "2"]


@pytest.mark.parametrize("content", [b"file_name,mos\n\x81\xff.png,1\n", b"file_name,mos\n\0a.png,1\n", b"PK\3\4\0\0"])
def test_what_is_no_text_is_refused_with_what_to_do(content, tmp_path):
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(SourceError, match=r"mine\.csv: not a readable CSV \(not .*; save it as CSV in UTF-8"):
        load_dataset(str(tmp_path / "mine.csv"))


def test_label_files_that_are_not_whole_are_refused(koniq, challenge, live_release_2):
    label_file = koniq / "koniq10k_scores_and_distributions.csv"
    save_lines(label_file, label_file.read_text().splitlines()[:-2])
    with pytest.raises(SourceError, match=r"rates 10,071 images, the complete file 10,073"):
        load_dataset("koniq10k", koniq)
    savemat(challenge / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.zeros((1, 9))})
    with pytest.raises(SourceError, match="9 scores for 1169 images"):
        load_dataset("clive", challenge)
    savemat(live_release_2 / "refnames_all.mat", {"names": np.zeros(3)})
    with pytest.raises(SourceError, match="has no variable 'refnames_all'"):
        load_dataset("live", live_release_2)
    savemat(live_release_2 / "refnames_all.mat", {"refnames_all": np.zeros(982)})
    with pytest.raises(SourceError, match="refnames_all does not hold texts"):
        load_dataset("live", live_release_2)
    for content in (b"MATLAB 5.0", (live_release_2 / "dmos_realigned.mat").read_bytes()[:300]):
        (live_release_2 / "dmos_realigned.mat").write_bytes(content)
        with pytest.raises(SourceError, match="not a readable MATLAB file"):
            load_dataset("live", live_release_2)


def test_damaged_workbooks_are_refused_with_what_to_do(csiq_release):
    book = csiq_release / "csiq.DMOS.xlsx"
    whole = book.read_bytes()
    for content in (whole[: len(whole) // 2], b"PK", b"no zip"):
        book.write_bytes(content)
        with pytest.raises(SourceError, match=r"not a readable workbook .* save the sheet as csiq\.DMOS\.csv"):
            load_dataset("csiq", csiq_release)
    save_workbook(book, {"Sheet1": csiq_rows()})
    with pytest.raises(SourceError, match="no sheet 'all_by_image'; it has Sheet1"):
        load_dataset("csiq", csiq_release)
    save_workbook(book, {"all_by_image": [["image", "dmos"], ["1600", 0.1]]})
    with pytest.raises(SourceError, match="has no column 'dst_type'; it has image, dmos"):
        load_dataset("csiq", csiq_release)
    for column, cell, words in (
        (5, "fog", "'fog' is not a distortion of CSIQ"),
        (6, None, "dst_lev is '', not one of"),
    ):
        rows = csiq_rows()
        rows[10][column] = cell
        save_workbook(book, {"all_by_image": rows})
        with pytest.raises(SourceError, match=f"line 11: {words}"):
            load_dataset("csiq", csiq_release)


def test_without_openpyxl_the_error_says_what_to_do(csiq_release, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(SourceError, match=r'pip install "glint-label\[excel\]", or save the sheet as csiq\.DMOS\.csv'):
        load_dataset("csiq", csiq_release)
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in csiq_rows()]
    save_lines(csiq_release / "csiq.DMOS.csv", lines)
    assert len(load_dataset("csiq", csiq_release).images) == 866


def test_a_small_workbook_cannot_fill_the_memory(csiq_release):
    book = csiq_release / "csiq.DMOS.xlsx"
    far = [*csiq_rows(), [None] * 16_383 + [1]]
    save_workbook(book, {"all_by_image": far})
    with pytest.raises(SourceError, match="a line of more than 256 cells"):
        load_dataset("csiq", csiq_release)
    with zipfile.ZipFile(book, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image1.png", bytes(2**24))
    assert book.stat().st_size < 2**20
    with pytest.raises(SourceError, match="unpacks to more than 16,777,216 bytes"):
        load_dataset("csiq", csiq_release)
