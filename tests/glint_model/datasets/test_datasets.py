"""Official layouts, imitated by small files: what is read, and what is refused with which words."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from glint_label.errors import InputError, SourceError, UsageError
from glint_label.sources import kadid10k
from glint_model.datasets import DATASETS, clive, csiq, koniq10k, live, load_dataset, spaq
from glint_model.evaluation.evaluate import choose_images
from tests.conftest import save_rated


def save_images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(root / name)


def save_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def save_workbook(path: Path, sheets: dict[str, Sequence[Sequence[object]]]) -> None:
    """Write what Excel would: texts shared, numbers as they are, empty cells left out, sheets in files of any name."""
    texts: dict[str, int] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(path, "w") as book:
        for number, rows in enumerate(sheets.values(), start=1):
            lines = []
            for line, cells in enumerate(rows, start=1):
                parts = []
                for column, cell in enumerate(cells):
                    place = f'r="{chr(ord("A") + column)}{line}"'
                    if isinstance(cell, str):
                        parts.append(f'<c {place} t="s"><v>{texts.setdefault(cell, len(texts))}</v></c>')
                    elif cell is not None:
                        parts.append(f'<c {place} s="2"><v>{cell}</v></c>')
                lines.append(f'<row r="{line}">{"".join(parts)}</row>')
            book.writestr(
                f"xl/worksheets/s{number}.xml",
                f"<worksheet {main}><sheetData>{''.join(lines)}</sheetData></worksheet>",
            )
        names = "".join(f'<sheet name="{name}" r:id="rId{n}"/>' for n, name in enumerate(sheets, start=1))
        book.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{kind}"><sheets>{names}</sheets></workbook>')
        targets = "".join(
            f'<Relationship Id="rId{n}" Target="worksheets/s{n}.xml"/>' for n in range(1, len(sheets) + 1)
        )
        book.writestr("xl/_rels/workbook.xml.rels", f"<Relationships>{targets}</Relationships>")
        shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
        book.writestr("xl/sharedStrings.xml", f"<sst {main}>{shared}</sst>")


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
    kinds = list(csiq.FOLDERS)
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


@pytest.fixture
def spaq_release(tmp_path):
    header = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"]
    rows = [[f"{n:05d}.jpg", n % 90 + 5.5, 50, 50, 50, 50, 50] for n in range(1, spaq.IMAGES + 1)]
    save_workbook(tmp_path / "Annotations" / "MOS and Image attribute scores.xlsx", {"Sheet1": [header, *rows]})
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


def test_csiq_from_its_workbook_or_a_csv_saved_from_it(csiq_release):
    rated = load_dataset("csiq", csiq_release)
    images = rows_of(rated)
    assert (len(images), rated.mos_range) == (866, (0, 1))
    noisy = images.loc["dst_imgs/awgn/1600.AWGN.2.png"]
    assert noisy["mos"] == pytest.approx(1 - 2 / 5)
    assert (noisy["group"], noisy["distortion"], noisy["level"]) == ("1600", "awgn", 2)
    assert rated.images["group"].nunique() == 30
    assert len(only_there(rated)) == 2
    (csiq_release / "csiq.DMOS.xlsx").unlink()
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in csiq_rows()]
    save_lines(csiq_release / "csiq.DMOS.csv", lines)
    assert load_dataset("csiq", csiq_release).images.equals(rated.images)


def test_csiq_with_all_images_in_one_folder(csiq_release):
    save_images(csiq_release, "dst_imgs_all/content_00.BLUR.4.png")
    images = rows_of(load_dataset("csiq", csiq_release))
    assert images.loc["dst_imgs_all/content_00.BLUR.4.png", "distortion"] == "blur"


def test_koniq10k_takes_the_size_that_is_there(koniq):
    rated = load_dataset("koniq10k", koniq)
    (found,) = only_there(rated)
    assert (found["file_name"], found["mos"], found["group"]) == ("512x384/7.jpg", 10.9, "512x384/7.jpg")
    assert (found["distortion"], found["level"], len(rated.images)) == ("", 0, 10_073)
    save_images(koniq, "1024x768/9.jpg")
    assert only_there(load_dataset("koniq10k", koniq))[0]["file_name"] == "1024x768/9.jpg"


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
    ],
)
def test_a_table_with_faults_is_refused_with_its_line(lines, words, tmp_path):
    save_lines(tmp_path / "mine.csv", lines)
    with pytest.raises(SourceError, match=words):
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
        with pytest.raises(SourceError, match=r"not a readable table .* save the sheet as csiq\.DMOS\.csv"):
            load_dataset("csiq", csiq_release)
    save_workbook(book, {"Sheet1": csiq_rows()})
    with pytest.raises(SourceError, match="no sheet 'all_by_image'; it has Sheet1"):
        load_dataset("csiq", csiq_release)
    save_workbook(book, {"all_by_image": [["image", "dmos"], ["1600", 0.1]]})
    with pytest.raises(SourceError, match="has no line with the column names image, dst_type"):
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
