"""`render --check`: pixel files that are not what their recipes say are found."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glint_label.build.pipeline import build
from glint_label.errors import InputError
from glint_label.manifest import Selection
from glint_label.rerender import rerender
from tests.conftest import custom_build, file_bytes, save_photos, save_rated
from tests.glint_cli.test_commands import run


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rerender")
    refs = save_photos(folder / "refs", ["one.png", "two.jpg"])
    rated = save_rated(folder / "rated", anchors=3, distortions=("gaussian_blur", "white_noise"))
    config = custom_build(refs, rated, folder / "out", transfer="top1", images="png")
    build(config)
    build(replace(config, out=folder / "bare", images="none"))
    return folder


@pytest.fixture
def out(built, tmp_path) -> Path:
    return shutil.copytree(built / "out", tmp_path / "out")


def pixel_files(out: Path) -> list[Path]:
    return sorted(out.glob("shards/*/*.png"))


@pytest.mark.slow
def test_what_was_rendered_is_as_its_recipe_says_and_nothing_is_written(out):
    before = file_bytes(out)
    found = rerender(out)
    assert (found.present, found.compared, found.faults) == (20, 20, ())
    assert file_bytes(out) == before
    assert "20 of 20 images rendered again: all the same" in run("render", out, "--check").stdout


def change_a_pixel(path: Path) -> None:
    pixels = np.array(Image.open(path))
    pixels[3, 5] ^= 64
    Image.fromarray(pixels).save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def shrink(path: Path) -> None:
    Image.open(path).resize((80, 70)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_a_pixel, "differs from its recipe by up to 64 of 255"),
        (cut, "truncated or damaged"),
        (shrink, "is 80 x 70, its recipe makes 96 x 80"),
    ],
)
def test_a_file_that_is_something_else_is_named_with_the_remedy(out, damage, words):
    file = pixel_files(out)[7]
    damage(file)
    ((name, message),) = rerender(out).faults
    assert name == str(file)
    assert words in message
    said = run("render", out, "--check", code=3).stderr
    assert f"1 of 20 images are not as their recipes say, first {file}" in said
    file.unlink()
    run("render", out)
    assert rerender(out).faults == ()


def test_a_part_and_a_sample(out):
    for file in pixel_files(out)[:5]:
        file.unlink()
    assert rerender(out).present == 15
    assert rerender(out, sample=4).compared == 4
    assert 0 < rerender(out, selection=Selection(levels=(5,))).present < 5


def test_a_photo_that_changed_is_one_fault_and_no_files_is_an_error(built, out):
    with pytest.raises(InputError, match="none of these rows has a pixel file; make them with `glint-label render"):
        rerender(built / "bare")
    save_photos(out.parent / "moved", ["one.png"], first_seed=500)
    shutil.copy(built / "refs" / "two.jpg", out.parent / "moved")
    faults = rerender(out, out.parent / "moved").faults
    assert [name for name, _ in faults] == ["one.png"]
