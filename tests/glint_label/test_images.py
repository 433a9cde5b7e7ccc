"""Every kind of file a user may have in a folder of photos."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glint_label.errors import ImageError, InputError
from glint_label.images import CAN_READ_AVIF, CAN_READ_HEIF, encode_image, read_photo
from glint_label.listing import list_images
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
    assert list_images(tmp_path).names == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "nowhere")


def keyed_png(samples: np.ndarray, depth: int, key: list[int]) -> bytes:
    """Write a PNG of grey (H, W) or coloured (H, W, 3) samples with a transparent key."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = samples.shape[:2]
    colours = 2 if samples.ndim == 3 else 0
    flat = samples.reshape(height, -1)
    if depth == 16:
        rows = flat.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    body = zlib.compress(np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes())
    names = {b"IHDR": header, b"tRNS": struct.pack(f">{len(key)}H", *key), b"IDAT": body, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in names.items())


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_a_transparent_key_is_laid_on_white_at_every_depth(tmp_path, depth, colours):
    if colours and depth < 8:
        pytest.skip("PNG has no such colours")
    top = 2**depth - 1
    samples = np.random.default_rng(0).integers(0, top + 1, (70, 80, *colours))
    key = samples[3, 4].reshape(-1).tolist()
    samples[10:30, 10:30] = key
    near = [key[0] ^ 1, *key[1:]]  # the same to the high byte where there are 16 bits
    samples[30:50, 10:30] = near if colours else near[0]
    (tmp_path / "x.png").write_bytes(keyed_png(samples, depth, key))
    expected = samples >> 8 if depth == 16 else samples * 255 // top
    expected = expected if colours else np.repeat(expected[..., None], 3, axis=2)
    is_key = (samples == key).all(axis=2) if colours else samples == key[0]
    expected = np.where(is_key[..., None], 255, expected)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.png").pixels, expected)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["grey.png", "colour.png", "grey.tiff"])
def test_samples_that_leave_the_high_bits_empty_are_warned_of(tmp_path, bits, kind):
    samples = np.random.default_rng(0).integers(0, 2**bits, (70, 80, 3) if kind == "colour.png" else (70, 80))
    if kind == "grey.tiff":
        Image.fromarray(samples.astype(np.uint16)).save(tmp_path / kind)
    else:
        content = keyed_png(samples, 16, [0] * (3 if samples.ndim == 3 else 1))
        (tmp_path / kind).write_bytes(content)
    assert ("multiply" in read_photo(tmp_path / kind).warning) == (bits < 16)


def test_ordinary_photos_are_not_warned_of(tmp_path):
    Image.fromarray(PHOTO // 16).save(tmp_path / "night.png")
    assert read_photo(tmp_path / "night.png").warning == ""


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".JFIF"])
def test_every_ending_of_jpeg_is_one(tmp_path, suffix):
    Image.fromarray(PHOTO).save(tmp_path / f"x{suffix}", "JPEG")
    assert list_images(tmp_path).names == [f"x{suffix}"]
    assert read_photo(tmp_path / f"x{suffix}").pixels.shape == PHOTO.shape


@pytest.mark.skipif(not CAN_READ_AVIF, reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_avif_is_read_and_turned(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PHOTO).save(tmp_path / "x.avif", exif=exif, quality=100, subsampling="4:4:4")
    assert list_images(tmp_path).names == ["x.avif"]
    turned = np.rot90(PHOTO, {1: 0, 3: 2, 6: -1, 8: 1}[orientation]).astype(int)
    assert np.abs(read_photo(tmp_path / "x.avif").pixels - turned).mean() < 4


@pytest.mark.skipif(not CAN_READ_HEIF, reason="needs the extra [heif]")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_read_and_turned(tmp_path, orientation):
    import pillow_heif

    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(tmp_path / "x.heic", exif=exif.tobytes(), quality=-1)
    assert list_images(tmp_path).names == ["x.heic"]
    assert read_photo(tmp_path / "x.heic").pixels.shape[:2] in ((96, 80), (80, 96))


@pytest.mark.skipif(CAN_READ_HEIF, reason="it is read")
def test_a_heic_picture_under_another_name_says_what_it_wants(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    with pytest.raises(ImageError, match=r"glint-label\[heif\]"):
        read_photo(tmp_path / "x.jpg")
