"""Damaged files and slips in metadata: pixels, or the file's ImageError, never anything else."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from glint_label.errors import ImageError
from glint_label.images import CAN_READ_AVIF, read_photo
from tests.conftest import make_photo

PHOTO = make_photo(1)
UPRIGHT = np.rot90(PHOTO, -1)
ORIENTATION, MODEL, SHORT, ASCII, RATIONAL = 0x0112, 0x0110, 3, 2, 5


def exif_block(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """Write an EXIF block: (tag, type, count, four bytes of value or offset) each."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return head + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4) + bytes(range(64))


TURNED = (ORIENTATION, SHORT, 1, struct.pack("<HH", 6, 0))
BROKEN_EXIF = {
    "model is a rational": exif_block((MODEL, RATIONAL, 1, struct.pack("<I", 40)), TURNED),
    "resolution is text": exif_block(TURNED, (0x011A, ASCII, 4, b"72\0\0"), (0x0128, ASCII, 2, b"2\0\0\0")),
    "date is a number": exif_block(TURNED, (0x0132, SHORT, 2, b"\1\0\2\0")),
    "an unknown type": exif_block((MODEL, 99, 1, bytes(4)), TURNED),
    "an offset beyond the end": exif_block((MODEL, ASCII, 99, b"\xff\xff\xff\x7f"), TURNED),
    "a directory that points to itself": exif_block(TURNED, (0x8769, 4, 1, struct.pack("<I", 8))),
    "text where a directory belongs": exif_block(TURNED, (0x8825, ASCII, 4, b"gps\0")),
    "more entries than there are": exif_block(TURNED).replace(b"\x01\x00\x12\x01", b"\xff\x00\x12\x01", 1),
}


def with_exif(suffix: str, block: bytes) -> tuple[bytes, np.ndarray]:
    """Save the photo with an EXIF block; also say what its pixels are without one."""
    options = {".png": {}, ".jpg": {"quality": 95}, ".webp": {"lossless": True, "exact": True}}[suffix]
    plain, marked = io.BytesIO(), io.BytesIO()
    kind = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[suffix]
    Image.fromarray(PHOTO).save(plain, kind, **options)
    Image.fromarray(PHOTO).save(marked, kind, exif=b"Exif\0\0" + block, **options)
    return marked.getvalue(), np.asarray(Image.open(plain).convert("RGB"))


@pytest.mark.parametrize("what", BROKEN_EXIF)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_photo_is_turned_whatever_else_its_exif_holds(tmp_path, suffix, what):
    content, plain = with_exif(suffix, BROKEN_EXIF[what])
    (tmp_path / f"x{suffix}").write_bytes(content)
    np.testing.assert_array_equal(read_photo(tmp_path / f"x{suffix}").pixels, np.rot90(plain, -1))


def retyped(content: bytes, tag: int, kind: int) -> bytes:
    """Change the type of one tag in the first directory of a TIFF."""
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    changed = bytearray(content)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<H", changed, entry + 2, kind)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("tag", [MODEL, 0x011A, 0x0128, 0x0132, 0x0131])
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 7, 10, 12, 13, 99])
def test_a_tiff_is_turned_whatever_else_its_tags_hold(tmp_path, compression, tag, kind):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MODEL], exif[0x0132], exif[0x0131] = 6, "camera", "2024:01:01 00:00:00", "x"
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "TIFF", exif=exif, compression=compression, dpi=(72, 72))
    (tmp_path / "x.tiff").write_bytes(retyped(buffer.getvalue(), tag, kind))
    np.testing.assert_array_equal(read_photo(tmp_path / "x.tiff").pixels, UPRIGHT)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_every_orientation_is_applied_as_exif_defines_it(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(PHOTO).save(tmp_path / f"x{suffix}", exif=exif, **options)
    turned = {
        2: PHOTO[:, ::-1],
        3: PHOTO[::-1, ::-1],
        4: PHOTO[::-1],
        5: PHOTO.swapaxes(0, 1),
        6: UPRIGHT,
        7: PHOTO[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PHOTO),
    }
    np.testing.assert_array_equal(read_photo(tmp_path / f"x{suffix}").pixels, turned.get(orientation, PHOTO))


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) if crc is None else crc)
    )


LONG_TEXT = b"workflow\0\0" + zlib.compress(b"x" * 3_000_000)
CHUNKS = {
    "a long text": chunk(b"zTXt", LONG_TEXT),
    "a long colour profile": chunk(b"iCCP", LONG_TEXT),
    "a checksum that is wrong": chunk(b"tEXt", b"Author\0me", crc=1),
    "a density that is cut": chunk(b"pHYs", b"\0\0"),
    "an EXIF block that is none": chunk(b"eXIf", b"not EXIF"),
    "a profile in hex that is none": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  4\nzz"),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("what", CHUNKS)
def test_metadata_of_a_png_does_not_decide_about_its_pixels(tmp_path, what, place):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    content = buffer.getvalue()
    cut = 33 if place == "before" else len(content) - 12  # behind the header, before the end
    (tmp_path / "x.png").write_bytes(content[:cut] + CHUNKS[what] + content[cut:])
    np.testing.assert_array_equal(read_photo(tmp_path / "x.png").pixels, PHOTO)


def test_a_photo_whose_text_is_damaged_is_turned_all_the_same(tmp_path):
    content, plain = with_exif(".png", exif_block(TURNED))
    (tmp_path / "x.png").write_bytes(content[:33] + CHUNKS["a checksum that is wrong"] + content[33:])
    np.testing.assert_array_equal(read_photo(tmp_path / "x.png").pixels, np.rot90(plain, -1))


@pytest.mark.parametrize(
    "segment", [b"\xff\xe2\0\x1eMPF\0II*\0\x08\0\0\0\x02\0\x01\xb0\x07\0", b"\xff\xed\0\x16Photoshop 3.0\0"]
)
def test_metadata_of_a_jpeg_does_not_decide_about_its_pixels(tmp_path, segment):
    content, plain = with_exif(".jpg", exif_block(TURNED))
    length = struct.unpack(">H", segment[2:4])[0]
    (tmp_path / "x.jpg").write_bytes(content[:2] + segment.ljust(length + 2, b"\xff") + content[2:])
    np.testing.assert_array_equal(read_photo(tmp_path / "x.jpg").pixels, np.rot90(plain, -1))


def samples() -> list[tuple[str, bytes]]:
    """Small files of every kind, with EXIF where the kind has it."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[MODEL], exif[0x011A] = 6, "camera", TiffImagePlugin.IFDRational(72, 1)
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    photo = Image.fromarray(make_photo(5, 72, 66))
    made = []
    for kind, image, options in (
        ("JPEG", photo, {"exif": exif, "dpi": (72, 72)}),
        ("JPEG", photo, {"progressive": True, "exif": exif, "comment": "a comment"}),
        ("PNG", photo, {"exif": exif, "dpi": (72, 72)}),
        ("PNG", photo.quantize(16), {"transparency": 3}),
        ("WEBP", photo, {"exif": exif}),
        ("WEBP", photo, {"exif": exif, "lossless": True}),
        ("TIFF", photo, {"exif": exif, "dpi": (72, 72)}),
        ("TIFF", photo, {"exif": exif, "compression": "tiff_lzw"}),
        ("TIFF", photo, {"exif": exif, "compression": "jpeg"}),
        ("TIFF", photo.convert("L"), {"compression": "tiff_adobe_deflate"}),
        ("BMP", photo, {}),
        ("BMP", photo.quantize(16), {}),
        *([("AVIF", photo, {"exif": exif})] if CAN_READ_AVIF else []),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append((kind, buffer.getvalue()))
    return made


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change a few bytes, mostly in the header and the tail, or cut, repeat or insert some."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        reach = min(len(changed), int(rng.choice([40, 200, 700, len(changed)])))
        place = int(rng.integers(reach))
        if rng.random() < 0.3:  # tables of TIFF files lie at the end
            place = len(changed) - 1 - place
        how, width = rng.integers(6), int(rng.choice([1, 2, 4]))
        if how < 3:
            changed[place : place + width] = rng.choice([0, 1, 2, 6, 127, 128, 255], width).astype(np.uint8).tobytes()
        elif how == 3:
            changed[place : place + width] = rng.bytes(width)
        elif how == 4:
            del changed[place : place + int(rng.integers(1, 12))]
        else:
            changed[place:place] = changed[place : place + int(rng.integers(1, 24))]
        if not changed:
            break
    return bytes(changed)


def check_mutations(folder: Path, seed: int, number: int) -> tuple[int, int]:
    """Open mutated files; count those that gave pixels, and those refused by name."""
    rng, made = np.random.default_rng(seed), samples()
    opened = refused = 0
    for turn in range(number):
        kind, content = made[turn % len(made)]
        path = folder / f"x.{kind.lower()}"
        path.write_bytes(mutate(content, rng))
        try:
            pixels = read_photo(path).pixels
        except ImageError as error:
            named = bool(error.reason) and str(path) in str(error)
            assert named
            refused += 1
        else:
            assert pixels.dtype == np.uint8
            assert min(pixels.shape[:2]) >= 64
            opened += 1
    return opened, refused


def test_mutated_files_end_in_pixels_or_their_own_error(tmp_path):
    opened, refused = check_mutations(tmp_path, 0, 500)
    assert min(opened, refused) > 50  # both ends are reached


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_mutated_files_end_in_pixels_or_their_own_error(tmp_path, seed):
    check_mutations(tmp_path, seed, 5000)


@pytest.mark.parametrize("raised", [MemoryError(), RecursionError(), AssertionError(), StopIteration()])
def test_whatever_a_decoder_raises_is_that_files_error(tmp_path, raised):
    class Raising(ImageFile.ImageFile):
        format = "BMP"

        def _open(self):
            self._size, self._mode, self.fp = (80, 80), "RGB", None
            self.tile = []

        def load(self):
            raise raised

    path = tmp_path / "x.bmp"
    Image.fromarray(PHOTO).save(path)
    before = Image.OPEN["BMP"]
    Image.register_open("BMP", Raising, before[1])
    try:
        with pytest.raises(ImageError, match=re.escape(str(path))) as caught:
            read_photo(path)
    finally:
        Image.OPEN["BMP"] = before
    assert caught.value.reason == ("memory" if isinstance(raised, MemoryError) else "truncated")


@pytest.mark.skipif(not CAN_READ_AVIF, reason="this Pillow reads no AVIF")
@pytest.mark.parametrize("said", [1, 6])
@pytest.mark.parametrize("what", BROKEN_EXIF)
def test_an_avif_is_turned_as_its_container_says_whatever_its_exif_holds(tmp_path, what, said):
    exif = Image.Exif()
    exif[MODEL], exif[ORIENTATION] = "camera" * 60, 6
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "AVIF", exif=exif)
    content = buffer.getvalue()
    place = max(content.rfind(b"II*\0"), content.rfind(b"MM\0*"))
    block = BROKEN_EXIF[what].replace(TURNED[3], struct.pack("<HH", said, 0))
    changed = content[:place] + block + content[place + len(block) :]
    (tmp_path / "x.avif").write_bytes(content)
    expected = read_photo(tmp_path / "x.avif").pixels
    assert expected.shape == (96, 80, 3)
    (tmp_path / "x.avif").write_bytes(changed)
    np.testing.assert_array_equal(read_photo(tmp_path / "x.avif").pixels, expected)
