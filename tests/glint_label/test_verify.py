"""Our pixels against a source's own images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from glint_cli.main import main
from glint_label.distortions import distort
from glint_label.errors import InputError, SourceError
from glint_label.sources import Source, load_source
from glint_label.verify import psnr, summarise_comparisons, verify
from tests.conftest import make_photo, save_rated


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Two anchors; of their images, three are there: one exact, one off by a grey level, one random."""
    rated = save_rated(tmp_path, anchors=2, distortions=("gaussian_blur", "white_noise", "denoise"))
    source = replace(load_source("custom", rated), image_name="images/{number}_{level}/{anchor}")
    photo = make_photo(0)
    images = {
        ("gaussian_blur", 5): distort(photo, "gaussian_blur", 5),
        ("gaussian_blur", 4): distort(photo, "gaussian_blur", 4) ^ 1,
        ("white_noise", 3): distort(photo, "white_noise", 3, seed=99),
    }
    for (distortion, level), pixels in images.items():
        path = source.image_path("anchors/a0.png", distortion, level)
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(path)
    return source


def test_each_kind_is_told_apart_and_missing_files_are_counted(source):
    images, missing = verify(source)
    rows = {(row["distortion"], row["level"]): row for row in summarise_comparisons(images)}
    assert missing == 2 * 3 * 5 - 3
    exact = rows["gaussian_blur", 5]
    assert (exact["kind"], exact["identical"], exact["largest"], exact["psnr_least"]) == ("exact", 1.0, 0, None)
    off = rows["gaussian_blur", 4]
    assert (off["identical"], off["largest"], off["off"]) == (0.0, 1, 1.0)
    assert off["psnr_least"] == pytest.approx(48.131, abs=0.001)  # every sample one level off
    noise = rows["white_noise", 3]
    assert noise["kind"] == "random"
    assert abs(noise["psnr_to_anchor_difference"]) < 0.5
    only, missing = verify(source, ["white_noise"])
    assert (len(only), missing) == (1, 9)


def test_images_of_another_size_or_none_are_errors(source):
    path = source.image_path("anchors/a0.png", "gaussian_blur", 5)
    Image.fromarray(make_photo(1, 100, 100)).save(path)
    with pytest.raises(SourceError, match="has another size than its anchor"):
        verify(source)
    with pytest.raises(InputError, match="none of its distorted images is there"):
        verify(source, ["denoise"])
    with pytest.raises(InputError, match="has no distorted images that could be made here"):
        verify(replace(source, image_name=""))


def test_psnr_has_its_closed_form():
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 51) == pytest.approx(20 * np.log10(5))


@pytest.mark.slow
def test_the_published_images_are_reached(shared):
    folder = str(shared / "data" / "kadid10k")
    arguments = ["verify", "--source-dir", folder, "--allow-missing-anchors", "--types", "1,2,jpeg", "--workers", "2"]
    result = CliRunner().invoke(main, [*arguments, "--min-psnr", "100"])
    assert result.exit_code == 0, result.output
    assert "41 images compared, 1,159 missing" in result.stdout
    worse = ["jpeg2000" if part == "1,2,jpeg" else part for part in arguments]
    result = CliRunner().invoke(main, [*worse, "--min-psnr", "50"])
    assert result.exit_code == 5
    assert "is below --min-psnr 50" in result.stderr
