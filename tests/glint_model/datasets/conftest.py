"""Rated datasets in miniature, in their official layouts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook
from PIL import Image
from scipy.io import savemat

from glint_label.sources import kadid10k
from glint_model.datasets import clive, csiq, koniq10k, live, spaq
from glint_model.evaluation.evaluate import choose_images


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
