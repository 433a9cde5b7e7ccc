"""Official layouts, imitated by small files: what is read, and what is refused with which words."""

import csv
import io
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook
from PIL import Image
from scipy.io import savemat

from glint_label.errors import InputError, SourceError, UsageError
from glint_label.sources import kadid10k
from glint_model.datasets import DATASETS, clive, csiq, koniq10k, live, load_dataset, spaq
from glint_model.evaluation.evaluate import choose_images, score_rated
from tests.conftest import save_rated


def save_images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(root / name)


def save_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def save_workbook(path: Path, sheets: dict[str, Sequence[Sequence[object]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook(write_only=True)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for cells in rows:
            sheet.append(cells)
    book.save(path)


@pytest.fixture
def kadid(tmp_path):
    rows = [
        f"{anchor}_{number:02d}_{level:02d}.png,{anchor}.png,{5 - level * 0.8:.2f},0.49"
        for anchor in kadid10k.ANCHORS
        for number in range(1, 26)
        for level in range(1, 6)
    ]
    save_lines(tmp_path / "dmos.csv", ["dist_img,ref_img,dmos,var", *rows])
    save_images(tmp_path, "images/I01.png", "images/I02.png", "images/I02_07_03.png")
    return tmp_path


@pytest.fixture
def tid(tmp_path):
    names = [f"i{a:02d}_{n:02d}_{level}.bmp" for a in range(1, 26) for n in range(1, 25) for level in range(1, 6)]
    scores = np.linspace(0.3, 7.2, len(names))
    save_lines(tmp_path / "mos_with_names.txt", [f"{mos:.5f} {name}" for mos, name in zip(scores, names, strict=True)])
    save_lines(tmp_path / "mos_std.txt", ["0.1"] * len(names))
    save_images(tmp_path, *(f"reference_images/I{a:02d}.BMP" for a in range(1, 26)), "distorted_images/I03_08_2.BMP")
    return tmp_path


@pytest.fixture
def live_release_2(tmp_path):
    count = sum(live.FOLDERS.values())
    dmos = np.linspace(-2.6, 111.8, count)
    originals = np.zeros(count)
    originals[[0, 5, 981]] = 1
    dmos[[0, 5, 981]] = 0
    references = np.array([f"ref{number % 29}.bmp" for number in range(count)], dtype=object)
    savemat(tmp_path / "dmos_realigned.mat", {"dmos_new": dmos[None], "orgs": originals[None]})
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": references[None]})
    save_images(tmp_path, "jp2k/img2.bmp", "jpeg/img1.bmp", "fastfading/img173.bmp")
    return tmp_path


CSIQ_HEADER = [None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]


def csiq_rows() -> list[list[object]]:
    contents = [1600, *(f"content_{number:02d}" for number in range(29))]
    kinds = ["noise", "jpeg", "jpeg 2000", "fnoise", "blur", "contrast"]
    cells = [(content, kind, level) for kind in kinds for content in contents for level in range(1, 6)][: csiq.IMAGES]
    rows = [
        [None, None, None, content, kinds.index(kind) + 1, kind, level, 0.05, level / 5]
        for content, kind, level in cells
    ]
    return [["CSIQ"], ["see the paper"], [], CSIQ_HEADER, *rows]


@pytest.fixture
def csiq_release(tmp_path):
    save_workbook(tmp_path / "csiq.DMOS.xlsx", {"all_by_distortion": [["nothing"]], "all_by_image": csiq_rows()})
    save_images(tmp_path, "dst_imgs/awgn/1600.AWGN.2.png", "dst_imgs/jpeg2000/content_03.jpeg2000.5.png")
    return tmp_path


@pytest.fixture
def koniq(tmp_path):
    rows = [f'"{number}.jpg",0,1,2,3,4,10,3.1,0.7,{number % 80 + 3.9:.4f}' for number in range(koniq10k.IMAGES)]
    header = '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"'
    save_lines(tmp_path / "koniq10k_scores_and_distributions.csv", [header, *rows])
    save_images(tmp_path, "512x384/7.jpg")
    return tmp_path


@pytest.fixture
def challenge(tmp_path):
    names = [f"trainingImages/t{n}.bmp" for n in range(1, 8)] + [f"{n}.bmp" for n in range(clive.IMAGES)]
    (tmp_path / "Data").mkdir()
    cells = np.array(names, dtype=object)[:, None]
    savemat(tmp_path / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(tmp_path / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.linspace(3, 92, len(names))[None]})
    save_images(tmp_path, "Images/0.bmp", "Images/trainingImages/t1.bmp")
    return tmp_path


SPAQ_HEADER = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]


def spaq_rows() -> list[list[object]]:
    rows = [[f"{n:05d}.jpg", n % 90 + 5.5, 50, 50, 50, 50, 50] for n in range(1, spaq.IMAGES + 1)]
    return [SPAQ_HEADER, *rows]


@pytest.fixture
def spaq_release(tmp_path):
    save_workbook(tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx", {"Sheet1": spaq_rows()})
    save_images(tmp_path, "TestImage/00002.jpg")
    return tmp_path


@pytest.fixture
def spaq_saved_as_csv(tmp_path):
    lines = [",".join(map(str, row)) for row in spaq_rows()]
    save_lines(tmp_path / "Annotations" / "MOS and Image attribute scores.csv", lines)
    save_images(tmp_path, "TestImage/00002.jpg")
    return tmp_path


def rows_of(rated):
    return rated.images.set_index("file_name")


def only_there(rated):
    return choose_images(rated, "disk", allow_missing=True)[0].images.to_dict("records")


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


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding_is_refused_with_what_to_do(encoding, tmp_path):
    (tmp_path / "mine.csv").write_bytes("file_name,mos\nä.png,1\n".encode(encoding))
    with pytest.raises(SourceError, match=r"mine\.csv: not a readable CSV .*; save it as CSV in UTF-8"):
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
