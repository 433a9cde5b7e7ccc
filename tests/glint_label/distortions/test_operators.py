"""Closed forms and slow, plain versions of single operators; no golden files."""

import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import skimage.color
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from glint_label.distortions import Prepared, distort, find
from glint_label.distortions.blur import gaussian_blur, lens_blur, motion_blur
from glint_label.distortions.color import color_saturation_hsv, shift_along
from glint_label.distortions.color_spaces import lab_to_rgb, rgb_to_lab, rgb_to_ycbcr, ycbcr_to_rgb
from glint_label.distortions.dither import dither, nearest_entries
from glint_label.distortions.filters import disk_kernel, gaussian_filter
from glint_label.distortions.noise import impulse_noise, multiplicative_noise, white_noise
from glint_label.distortions.palette import color_cube, variance_palette
from glint_label.distortions.prepared import stretch, to_bytes
from glint_label.distortions.spatial import non_eccentricity_patch, pixelate
from glint_label.distortions.thresholds import minimise, otsu_thresholds, quantization
from glint_label.distortions.tone import contrast_change, darken, mean_shift
from glint_label.distortions.warp import warp
from tests.conftest import make_photo
from tests.glint_label.distortions.conftest import make_batch


@pytest.fixture
def photo() -> Tensor:
    return make_batch(1, 66, 81)


@pytest.fixture
def impulse() -> Tensor:
    image = torch.zeros(1, 3, 65, 65, dtype=torch.float64)
    image[..., 32, 32] = 1
    return image


def test_stretch_maps_the_range_of_all_channels_together(photo: Tensor):
    narrow = photo * 0.5 + torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    wide = stretch(narrow)
    assert (wide.min(), wide.max()) == (0, 1)
    assert torch.allclose(wide[:, 1] - wide[:, 0], (narrow[:, 1] - narrow[:, 0]) / (narrow.max() - narrow.min()))
    constant = torch.full_like(photo, 0.3)
    assert torch.equal(stretch(constant), constant)


def test_halves_round_up():
    assert to_bytes(torch.tensor([0.5, 1.5, 2.5, 254.5, 300, -3]).view(1, 1, 1, 6) / 255).flatten().tolist() == [
        *(1, 2, 3, 255, 255, 0)
    ]


def test_gaussian_blur_has_the_sigma_it_claims(impulse: Tensor):
    row = gaussian_blur(Prepared(impulse), sigma=2.0)[0, 0].sum(0)
    offsets = torch.arange(65) - 32.0
    weights = torch.exp(-(offsets**2) / 8) * (offsets.abs() <= 4)
    assert torch.allclose(row, (weights / weights.sum()).double())


@pytest.mark.parametrize("sigma", [0.5, 2, 5, 11, 20])
def test_gaussian_filter_replicates_the_edge(photo: Tensor, sigma: float):
    expected = scipy.ndimage.gaussian_filter(
        photo.numpy(), sigma, mode="nearest", axes=(2, 3), radius=math.ceil(2 * sigma)
    )
    np.testing.assert_allclose(gaussian_filter(photo, sigma).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [1, 2, 4, 6, 8])
def test_lens_blur_covers_the_area_of_a_disk(impulse: Tensor, radius: int):
    kernel = lens_blur(Prepared(impulse), radius)[0, 0]
    assert kernel[32, 32].item() == pytest.approx(1 / (math.pi * radius**2))
    assert kernel.sum().item() == pytest.approx(1)
    np.testing.assert_allclose(disk_kernel(radius), disk_kernel(radius).T, atol=1e-15)


def test_lens_blur_replicates_the_edge(photo: Tensor):
    blurred = lens_blur(Prepared(photo), 4)
    for plane, expected in zip(blurred[0], Prepared(photo).rgb[0], strict=True):
        direct = scipy.ndimage.correlate(expected.numpy(), disk_kernel(4), mode="nearest")
        np.testing.assert_allclose(plane.numpy(), direct, atol=1e-12)


def test_motion_blur_turns_counter_clockwise(impulse: Tensor):
    blurred = motion_blur(Prepared(impulse.repeat(2, 1, 1, 1)), 10, torch.tensor([30, 120]))
    rows, columns = torch.nonzero(blurred[0, 0] > 0.02).sub(32).unbind(1)
    assert ((rows * columns) <= 0).all()  # at 30 degrees, right is up
    assert torch.allclose(blurred[0, 0].rot90(), blurred[1, 0])


def test_lab_is_that_of_scikit_image(photo: Tensor):
    lab = rgb_to_lab(photo)
    expected = skimage.color.rgb2lab(photo[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(lab[0].permute(1, 2, 0).numpy(), expected, atol=0.02)  # another white, to 4 digits
    assert torch.allclose(lab_to_rgb(lab), photo, atol=1e-12)


def test_white_and_greys_have_no_colour():
    greys = torch.linspace(0, 1, 64, dtype=torch.float64).expand(1, 3, 1, 64)
    lab = rgb_to_lab(greys)
    assert lab[:, 1:].abs().max() < 1e-12
    assert lab[0, 0, 0, [0, -1]].tolist() == pytest.approx([0, 100], abs=1e-12)


def test_ycbcr_is_in_studio_swing(photo: Tensor):
    corners = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 0, 1]], dtype=torch.float64).T.reshape(1, 3, 1, 3)
    assert (rgb_to_ycbcr(corners)[0, :, 0] * 255).T.round().tolist() == [
        *([16, 128, 128], [235, 128, 128], [41, 240, 110])
    ]
    assert torch.allclose(ycbcr_to_rgb(rgb_to_ycbcr(photo)), photo, atol=1e-12)


@pytest.mark.parametrize("factor", [0.4, 0.1, 0])
def test_hsv_saturation_is_that_of_the_hexcone(photo: Tensor, factor: float):
    images = Prepared(photo)
    hsv = skimage.color.rgb2hsv(images.rgb[0].permute(1, 2, 0).numpy())
    expected = skimage.color.hsv2rgb(hsv * (1, factor, 1))
    result = color_saturation_hsv(images, factor)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_shift_has_the_length_asked_for():
    directions = torch.tensor([[1.0, 0], [3, 4], [0.01, 0.01]], dtype=torch.float64)
    assert shift_along(directions, 10).tolist() == [[10, 0], [6, 8], [7, 7]]


def test_white_noise_adds_its_variance():
    grey = Prepared(torch.full((1, 3, 200, 200), 0.5, dtype=torch.float64))
    noise = find(11).noise(torch.tensor([4]), grey.size, torch.float64)
    assert (white_noise(grey, 0.005, noise) - 0.5).var().item() == pytest.approx(0.005, rel=0.03)
    uniform = find(14).noise(torch.tensor([4]), grey.size, torch.float64)
    assert multiplicative_noise(grey, 0.02, uniform).var().item() == pytest.approx(0.02 * 0.25, rel=0.03)


def test_impulses_strike_single_samples(photo: Tensor):
    images = Prepared(photo)
    noise = torch.full_like(photo, 0.5)
    noise[0, 1, 3, 4], noise[0, 2, 5, 6] = 0.004, 0.006
    result = impulse_noise(images, 0.01, noise)
    assert (result[0, 1, 3, 4], result[0, 2, 5, 6]) == (0, 1)
    assert ((result != images.rgb).sum()) <= 2


def test_mean_shift_of_nothing_is_the_identity(photo: Tensor):
    assert torch.equal(mean_shift(Prepared(photo), 0.0), Prepared(photo).rgb)


def test_curves_go_through_their_knots():
    knots = torch.tensor([0, 0.3, 0.5, 0.7, 1], dtype=torch.float64)
    images = Prepared(knots.expand(1, 3, 1, 5))
    expected = [0, 0.25 + 0.1, 0.5, 0.75 - 0.1, 1]
    assert contrast_change(images, -0.4)[0, 0, 0].tolist() == pytest.approx(expected)
    assert darken(images, 0.8)[0, 0, 0].tolist() == pytest.approx([0, 0, 0.1, 0.7 * (1.6 * 0.7 - 0.6), 1])


def test_contrast_curve_is_the_not_a_knot_spline():
    x = torch.linspace(0, 1, 200, dtype=torch.float64)
    spline = CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, 0.175, 0.5, 0.825, 1], bc_type="not-a-knot")
    result = contrast_change(Prepared(x.expand(1, 3, 1, 200)), 0.3)[0, 0, 0]
    np.testing.assert_allclose(result.numpy(), spline(x.numpy()).clip(0, 1), atol=1e-14)


def test_whole_pixel_shifts_move_content_and_replicate_the_edge(photo: Tensor):
    field = torch.zeros(1, 2, 66, 81, dtype=torch.float64)
    field[:, 0], field[:, 1] = 2, -3  # two down, three left
    rows = (torch.arange(66) - 2).clamp(min=0)
    columns = (torch.arange(81) + 3).clamp(max=80)
    assert torch.allclose(warp(photo, field), photo[:, :, rows][..., columns], atol=1e-14)


def test_warp_reproduces_parabolas():
    x = torch.arange(80, dtype=torch.float64)
    image = (x**2).expand(1, 3, 60, 80)
    field = torch.full((1, 2, 60, 80), 0.3, dtype=torch.float64)
    inside = warp(image, field)[..., 5:-5, 5:-5]
    assert torch.allclose(inside, (x[5:-5] - 0.3).square().expand_as(inside), atol=1e-9)


def test_patches_are_copied_one_after_the_other(photo: Tensor):
    images = Prepared(photo)
    source = torch.tensor([[[20, 20], [24, 24]]])
    target = torch.tensor([[[24, 24], [28, 20]]])
    expected = images.rgb.clone()
    expected[..., 24:40, 24:40] = expected[..., 20:36, 20:36].clone()
    expected[..., 28:44, 20:36] = expected[..., 24:40, 24:40].clone()
    assert torch.equal(non_eccentricity_patch(images, 2, source, target), expected)


def test_pixelate_by_the_formula():
    ramp = torch.arange(70.0).expand(1, 3, 70, 70) / 69
    scale = 0.95 - 0.2**0.6
    shrunk = math.ceil(scale * 70)
    row = []
    for out in range(1, 71):
        ratio = 70 / shrunk
        small = min(max(math.floor(out / ratio + (1 - 1 / ratio) / 2 + 0.5), 1), shrunk)
        row.append(min(max(math.floor(small / scale + (1 - 1 / scale) / 2 + 0.5), 1), 70) - 1)
    result = pixelate(Prepared(ramp), 0.2)[0, 0, 0] * 69
    assert result.round().int().tolist() == row


def test_quantization_shows_upper_thresholds():
    image = Prepared(torch.from_numpy(make_photo(4)).permute(2, 0, 1)[None])
    histogram = torch.bincount(to_bytes(image.rgb).flatten(), minlength=256)
    thresholds = np.array(otsu_thresholds(histogram, 7)) / 255
    assert (np.diff(thresholds) > 0).all()
    samples = image.rgb.numpy()
    expected = np.concatenate([[0], thresholds[1:], [1]])[np.searchsorted(thresholds, samples)]
    np.testing.assert_allclose(quantization(image, 7).numpy(), expected, atol=1e-15)


def test_simplex_search_is_that_of_scipy():
    def valley(x: np.ndarray) -> float:
        return float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 0.5 * (x[2] - 3) ** 2)

    start = np.array([30.0, 90.0, 12.0])
    options = {"xatol": 1, "fatol": 1e-4, "maxfev": 600, "maxiter": 600}
    expected = scipy.optimize.minimize(valley, start, method="Nelder-Mead", options=options).x
    np.testing.assert_allclose(minimise(valley, start), expected, rtol=1e-12)


def plain_dither(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Floyd and Steinberg's dither as the specification tells it, pixel by pixel."""
    height, width, _ = image.shape
    nearest = nearest_entries(palette)
    carried = np.zeros((height, width, 3), int)
    result = np.empty_like(image)
    for x in range(width):
        for y in range(height):
            value = np.clip(image[y, x].astype(int) + carried[y, x], 0, 255)
            colour = palette[nearest[tuple(value >> 3)]]
            result[y, x] = colour
            for share, down, right in ((7, 1, 0), (3, -1, 1), (5, 0, 1), (1, 1, 1)):
                if 0 <= y + down < height and x + right < width:
                    part = [math.copysign(math.floor(abs(e) * share / 16 + 0.5), e) for e in value - colour]
                    carried[y + down, x + right] += np.array(part, int)
    return result


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (49, 51)], ids=str)
def test_slanted_dither_is_the_plain_one(size: tuple[int, int]):
    image = make_photo(6, *size)
    palette = variance_palette(color_cube(image), 16)
    assert np.array_equal(dither(image, palette), plain_dither(image, palette))


def test_palette_of_few_colours_is_those_colours():
    colours = np.array([[10, 20, 30], [200, 100, 50], [90, 250, 130], [255, 255, 255]], np.uint8)
    image = colours[np.random.default_rng(0).integers(0, 4, (64, 64))]
    palette = variance_palette(color_cube(image), 64)
    assert sorted(map(tuple, palette.tolist())) == sorted(map(tuple, colours.tolist()))
    assert np.array_equal(dither(image, palette), image)


@pytest.mark.parametrize("level", range(1, 6))
def test_color_quantization_uses_no_more_colours_than_it_should(level: int):
    result = distort(make_photo(7), "color_quantization", level)
    assert len(np.unique(result.reshape(-1, 3), axis=0)) <= find(6).amount(level)


def test_saturation_one_is_the_identity_and_stronger_levels_differ_more():
    photo = make_photo(8)
    photo[0, :2] = [[0], [255]]  # so that no sample lies on a tie
    base = to_bytes(Prepared(torch.from_numpy(photo).permute(2, 0, 1)[None]).rgb)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(distort(photo, "color_saturation_lab", 1), base)
    for name in ("white_noise", "impulse_noise", "darken", "color_diffusion", "color_block"):
        errors = [np.square(distort(photo, name, level).astype(float) - base).mean() for level in range(1, 6)]
        assert errors == sorted(errors), name
