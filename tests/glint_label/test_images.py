"""Every kind of file a user may have in a folder of photos."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glint_label.errors import ImageError, InputError
from glint_label.images import encode_image, list_images, read_photo
from tests.conftest import make_photo

PHOTO = make_photo(1)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.TIFF"])
def test_lossless_formats_keep_every_pixel(tmp_path, name):
    path = save(tmp_path / name, Image.fromarray(PHOTO))
    np.testing.assert_array_equal(read_photo(path).pixels, PHOTO)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_is_written_reads_back_bit_for_bit(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(encode_image(PHOTO, suffix))
    np.testing.assert_array_equal(read_photo(path).pixels, PHOTO)


@pytest.mark.parametrize("name", ["x.jpg", "x.jpeg", "x.webp"])
def test_lossy_formats_come_close(tmp_path, name):
    smooth = np.asarray(Image.fromarray(PHOTO).resize((12, 10)).resize((96, 80), Image.Resampling.BICUBIC))
    pixels = read_photo(save(tmp_path / name, Image.fromarray(smooth), quality=95)).pixels
    assert np.abs(pixels.astype(int) - smooth).mean() < 3


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = read_photo(save(tmp_path / "x.png", Image.fromarray(PHOTO[..., 0]))).pixels
    np.testing.assert_array_equal(pixels, np.repeat(PHOTO[..., :1], 3, axis=2))


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_16_bit_grey_keeps_the_high_byte(tmp_path, name):
    deep = PHOTO[..., 0].astype(np.uint16) * 256 + 77
    pixels = read_photo(save(tmp_path / name, Image.fromarray(deep))).pixels
    np.testing.assert_array_equal(pixels[..., 1], PHOTO[..., 0])


def test_16_bit_colour_keeps_the_high_byte(tmp_path):
    height, width = PHOTO.shape[:2]
    deep = (PHOTO.astype(">u2") * 256 + 77).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    )
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.png").pixels, PHOTO)


def test_palette_is_looked_up(tmp_path):
    image = Image.fromarray(PHOTO).quantize(16)
    pixels = read_photo(save(tmp_path / "x.png", image)).pixels
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


def test_transparent_pixels_are_laid_on_white(tmp_path):
    alpha = np.full((*PHOTO.shape[:2], 1), 255, np.uint8)
    alpha[:10] = 0
    pixels = read_photo(save(tmp_path / "x.png", Image.fromarray(np.concatenate([PHOTO, alpha], axis=2)))).pixels
    assert (pixels[:10] == 255).all()
    np.testing.assert_array_equal(pixels[10:], PHOTO[10:])


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path / "x.tiff", Image.fromarray(PHOTO).convert("CMYK"))
    np.testing.assert_array_equal(read_photo(path).pixels, PHOTO)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view
    path = save(tmp_path / "x.png", Image.fromarray(PHOTO), exif=exif)
    np.testing.assert_array_equal(read_photo(path).pixels, np.rot90(PHOTO, -1))


def test_icc_profile_is_left_alone(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = save(tmp_path / "x.png", Image.fromarray(PHOTO), icc_profile=profile)
    np.testing.assert_array_equal(read_photo(path).pixels, PHOTO)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def animated(suffix: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(make_photo(seed)) for seed in (1, 2)]
    frames[0].save(buffer, suffix, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def jpeg_cut_short() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_photo(3, 256, 256)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()[:5000]


def bomb() -> bytes:
    """A PNG whose header promises 20,000 x 20,000 pixels."""
    content = bytearray(png(Image.new("RGB", (64, 64))))
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


BAD = {
    "empty": ("x.png", b""),
    "not_an_image": ("x.jpg", b"this is a text, whatever its name says\n" * 10),
    "truncated": ("x.png", png(Image.fromarray(PHOTO))[:2000]),
    "too_large": ("x.png", bomb()),
    "too_small": ("x.png", png(Image.new("RGB", (400, 63)))),
    "animated": ("x.png", animated("PNG")),
    "unsupported": ("x.tiff", None),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, reason):
    name, content = BAD[reason]
    path = tmp_path / name
    if content is None:
        Image.fromarray(PHOTO[..., 0].astype(np.float32)).save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"x\.") as caught:
        read_photo(path)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.jpg", jpeg_cut_short(), "truncated"),
        ("x.webp", animated("WEBP"), "animated"),
        ("x.tiff", animated("TIFF"), "animated"),
    ],
)
def test_other_formats_are_refused_too(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_photo(tmp_path / name)
    assert caught.value.reason == reason


def test_a_missing_file_is_unreadable(tmp_path):
    with pytest.raises(ImageError, match="No such file") as caught:
        read_photo(tmp_path / "x.png")
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("cut", range(0, 3000, 37))
def test_a_png_cut_anywhere_is_refused_and_never_crashes(tmp_path, cut):
    content = png(Image.fromarray(PHOTO))
    (tmp_path / "x.png").write_bytes(content[:cut])
    with pytest.raises(ImageError):
        read_photo(tmp_path / "x.png")


def test_listing_is_sorted_and_passes_other_files_over(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.webp", ".hidden.png", ".cache/d.png", "notes.txt", "e.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "nowhere")
