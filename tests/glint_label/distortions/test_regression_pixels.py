"""Every distortion at every level of one small crop, against pixels that our own code made before.

tests/data/regression_pixels.png holds them: at the top left the crop, of scikit-image's chelsea (public domain), below
it a row for each distortion in the order of the table and a column for each level, seed 0. A change there is a change
of every manifest's pixels. Where that is meant, write the file anew and look at it:

    python -m tests.glint_label.distortions.test_regression_pixels
"""

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from glint_label.distortions import DISTORTIONS, Distortion, distort, prepare
from tests.glint_label.distortions.conftest import assert_same_but_ties

SHEET = Path(__file__).parents[2] / "data/regression_pixels.png"
# An eye with the photo's darkest and brightest sample, so that the crop is stretched as the whole photo is; corners
# at multiples of 16, so that JPEG cuts both into the same blocks. The range is 0..231: of an odd one no stretched
# sample lies half way between two grey levels.
TOP, LEFT, HEIGHT, WIDTH = 80, 144, 64, 80
WINDOW = (slice(TOP, TOP + HEIGHT), slice(LEFT, LEFT + WIDTH))
LEVELS = 5

# Integers, copies of pixels, or float64 sums and products that no processor may round in another way.
EXACT = {
    "color_quantization",
    "color_saturation_hsv",
    "jpeg",
    "impulse_noise",
    "multiplicative_noise",
    "darken",
    "mean_shift",
    "non_eccentricity_patch",
    "pixelate",
    "quantization",
    "color_block",
}
# The others take logarithms, Fourier transforms or fused products, or convolve in float32: their last bit depends on
# the processor and on the versions of torch and OpenJPEG, and a sample close to the middle of two grey levels may then
# fall on the other. Seen with torch 2.6 to 2.14, Pillow 11 to 13 and vectors of 128 to 512 bits: at most 5 of 15,360
# samples, all of denoise. Three times as many are allowed; a blur that is 0.1 % wider changes more.
SHARE = 0.001

# How far each local distortion looks, in pixels, and so how far the crop's own border reaches into it.
REACH = {
    "gaussian_blur": lambda sigma: math.ceil(2 * sigma),
    "lens_blur": int,
    "color_diffusion": lambda gain: math.ceil(2 * (1.5 * gain + 2)),
    "color_saturation_hsv": lambda _: 0,
    "color_saturation_lab": lambda _: 0,
    "jpeg": lambda _: 2,  # of the chroma, which is drawn twice as large
    "brighten": lambda _: 0,
    "darken": lambda _: 0,
    "mean_shift": lambda _: 0,
    "high_sharpen": lambda _: 6,
    "contrast_change": lambda _: 0,
}


def tile(row: int, column: int) -> np.ndarray:
    with Image.open(SHEET) as sheet:
        assert (sheet.mode, sheet.size) == ("RGB", (LEVELS * WIDTH, (1 + len(DISTORTIONS)) * HEIGHT))
        left, top = column * WIDTH, row * HEIGHT
        return np.array(sheet.crop((left, top, left + WIDTH, top + HEIGHT)))


@pytest.mark.parametrize("distortion", DISTORTIONS.values(), ids=lambda d: d.name)
def test_pixels_are_those_of_before(distortion: Distortion):
    prepared = prepare(tile(0, 0))
    for level in range(1, LEVELS + 1):
        share = 0 if distortion.name in EXACT else SHARE
        assert_same_but_ties(distort(prepared, distortion, level), tile(distortion.number, level - 1), share)


def test_the_crop_is_the_original_ones(shared: Path):
    with Image.open(shared / "goldens/chelsea.png") as photo:
        np.testing.assert_array_equal(tile(0, 0), np.array(photo)[WINDOW])


@pytest.mark.parametrize("name", REACH)
def test_pixels_are_the_original_ones_but_for_the_stretch(name: str, shared: Path):
    """Away from its border the crop's picture is that of the whole photo, but for the last stretch, which is linear.

    Both are rounded to whole grey levels, so a straight line through them misses by one level at most.
    """
    distortion = DISTORTIONS[name]
    for level, amount in enumerate(distortion.amounts, start=1):
        reach = REACH[name](amount)
        if 2 * reach >= HEIGHT:
            continue  # the widest diffusion sees the border from everywhere
        inside = (slice(reach, HEIGHT - reach), slice(reach, WIDTH - reach))
        with Image.open(shared / f"goldens/chelsea/{distortion.number}_{level}.png") as golden:
            theirs = np.array(golden.convert("RGB"))[WINDOW][inside].astype(float).ravel()
        ours = tile(distortion.number, level - 1)[inside].astype(float).ravel()
        gain, offset = np.polyfit(ours, theirs, 1)
        assert np.abs(gain * ours + offset - theirs).max() <= 1.01, level
        assert 0.8 < gain < 1.001, level  # the whole photo's range is the wider one


def main() -> None:
    """Write the sheet."""
    crop = skimage.data.chelsea()[WINDOW]
    prepared = prepare(crop)
    rows = [[crop] + [np.full_like(crop, 255)] * (LEVELS - 1)]
    rows += [[distort(prepared, row, level) for level in range(1, LEVELS + 1)] for row in DISTORTIONS.values()]
    SHEET.parent.mkdir(exist_ok=True)
    Image.fromarray(np.vstack([np.hstack(tiles) for tiles in rows])).save(SHEET, optimize=True)


if __name__ == "__main__":
    main()
