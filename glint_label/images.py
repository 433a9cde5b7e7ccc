"""The only module that opens an image file: any supported photo becomes 8-bit RGB, or an ImageError.

What happens to each kind: 16 bit keeps the high byte; grey is repeated into three channels; a palette is looked up;
transparent pixels are laid on white; CMYK goes through Pillow's plain formula; the EXIF orientation is applied;
an ICC profile is left alone (the numbers in the file are the pixels).
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from glint_label.containers import is_heif, orientation_of, without_metadata
from glint_label.errors import ImageError, InputError, enough_memory
from glint_label.files import read_limited
from glint_label.names import as_text

VERSION = 2  # raise it with every change that gives some file other pixels
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
CAN_READ_AVIF = "avif" in features.modules and features.check("avif") is True
CAN_READ_HEIF = find_spec("pillow_heif") is not None
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff"),
    *((".avif",) if CAN_READ_AVIF else ()),
    *(HEIF_SUFFIXES if CAN_READ_HEIF else ()),
)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", *(("AVIF",) if CAN_READ_AVIF else ()))
MIN_SIDE = 64
# Pixels a side that files hold; distorted as a JPEG, no photo of a build can be larger.
MAX_SIDES = {".webp": 16_383, ".jpg": 65_500}
# Pillow's own limit against decompression bombs, 89 megapixels; written out so that a new Pillow cannot move it.
MAX_PIXELS = 89_478_485
# The largest honest file of that many pixels: 16-bit RGBA without compression, and room for metadata.
MAX_BYTES = 8 * MAX_PIXELS + 2**26

# EXIF's orientation -> how pixels are turned to stand upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
# 16-bit samples that reach no further than this: most likely 10, 12 or 14 bits in the low end.
_DIM = 2**14 - 1


SEEN = (512, 384)  # width and height of the pictures that KADID-10k's raters saw
# Width and height of a landscape picture, pixels; None leaves a photo at the size of its file.
Size = tuple[int, int] | None


@dataclass(frozen=True)
class Photo:
    """One decoded image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        sha256: Of the file's bytes, hex.
        file_size: Width and height of the picture in the file, turned upright, before it was brought to size.
        warning: What is doubtful about the pixels, in words; mostly empty.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    file_size: tuple[int, int]
    warning: str = ""


def read_photo(path: Path, sha256: str = "", size: Size = None, longest: int | None = None) -> Photo:
    """Open, check and decode one image file, and bring it to size.

    Args:
        path: The file.
        sha256: Of the file's bytes as they were labelled; empty to take whatever is there.
        size: See `bring_to_size`.
        longest: Most pixels a side that it may have then; None for any.

    Raises:
        ImageError: With `reason` one of unreadable, empty, not_an_image, truncated, too_large, too_small,
            animated, unsupported, changed, memory.
        StorageError: What holds the file does not answer: nothing is said about the file.
    """
    name = as_text(path)
    try:
        content, length = read_limited(path, MAX_BYTES)
    except OSError as error:
        raise ImageError("unreadable", f"{name}: {error.strerror}") from error
    if length > MAX_BYTES:
        raise ImageError("too_large", f"{name}: {length:,} bytes, the limit is {MAX_BYTES:,}")
    if not content:
        raise ImageError("empty", f"{name}: the file is empty")
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise ImageError("changed", f"{name}: is not the file that was labelled (its sha256 differs); restore it")
    pixels, warning = _decode(content, name)
    brought = bring_to_size(pixels, size)
    if longest is not None and max(brought.shape) > longest:
        of = f"{brought.shape[1]} x {brought.shape[0]}"
        raise ImageError(
            "too_large", f"{name}: {of}, the files that are made of it hold {longest:,} px a side at most"
        )
    return Photo(brought, found, (pixels.shape[1], pixels.shape[0]), warning)


def bring_to_size(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Bring a photo to the size that the raters saw: reduce it until it just covers that size, and cut the middle out.

    It is never enlarged: one that does not cover the size stays as it is, and so does one that has it already. Whole
    pixels are averaged as long as that leaves the size covered, so that a picture enlarged by whole pixels comes back
    exactly; Lanczos does the rest, less than a halving, and keeps the sharpness of a pristine photo. Pillow computes
    both in integers, so the pixels are the same on every machine.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: Width and height of a landscape picture, exchanged for an upright photo; None leaves the photo alone.
    """
    height, width = pixels.shape[:2]
    if size is None:
        return pixels
    wide, tall = _turned(size, width, height)
    if width < wide or height < tall or (width, height) == (wide, tall):
        return pixels
    # The side that needs the least reduction fits exactly; whole numbers keep rounding out of it.
    if width * tall <= height * wide:
        reduced = wide, max(tall, round(height * wide / width))
    else:
        reduced = max(wide, round(width * tall / height)), tall
    if reduced != (width, height):
        image = Image.fromarray(pixels)
        pixels = np.asarray(image.resize(reduced, Image.Resampling.LANCZOS, reducing_gap=1))
    return np.ascontiguousarray(_cut(pixels, wide, tall))


def middle_of(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut out the middle of a photo, of at most this size, which is turned for an upright one.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        size: Width and height of a landscape picture.
    """
    height, width = pixels.shape[:2]
    return _cut(pixels, *_turned(size, width, height))


def _turned(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    return size if width >= height else (size[1], size[0])


def _cut(pixels: NDArray[np.uint8], wide: int, tall: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    left, top = max(0, (width - wide) // 2), max(0, (height - tall) // 2)
    return pixels[top : top + tall, left : left + wide]


def _decode(content: bytes, name: str) -> tuple[NDArray[np.uint8], str]:
    """Decode a file to (H, W, 3) uint8, and say what is doubtful; if need be without its metadata."""
    try:
        return _open(content, name)
    except ImageError as error:
        bare = without_metadata(content) if error.reason in ("truncated", "not_an_image") else None
        if bare is None:
            raise
        try:
            return _open(bare[0], name, bare[1])
        except ImageError:
            raise error from None  # the picture itself is damaged: say what the whole file says


def _open(content: bytes, name: str, exif: bytes = b"") -> tuple[NDArray[np.uint8], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a slip in a photo's metadata is no reason to refuse its pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with enough_memory(name, "decode"), Image.open(io.BytesIO(content), formats=_formats(content)) as image:
                _check_header(image, name)
                if exif:
                    image.info["exif"] = exif
                key = _transparent_key(image)
                deep = any(";16" in str(tile[3]) for tile in image.tile)
                if image.format == "TIFF":
                    turn = _turn(image)  # closed once it is loaded
                    # Pillow turns the picture there and rewrites its EXIF, which fails on a tag of the wrong type.
                    image.load_end = lambda: None  # type: ignore[method-assign]
                    image.load()
                else:
                    image.load()  # before its EXIF is read, which stands behind the pixels in some PNGs
                    turn = _turn(image)
                plain = image.copy()  # has the size of its pixels; a TIFF's own is that of the turned picture
                pixels = _to_rgb(plain, name)
                warning = _warn_if_dim(plain) if deep else ""
                if key is not None:
                    pixels[_matches(plain, content, key)] = 255
                if turn is not None:
                    pixels = np.array(Image.fromarray(pixels).transpose(turn))
        except ImageError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError("too_large", f"{name}: more than {MAX_PIXELS:,} pixels") from error
        except UnidentifiedImageError as error:
            if is_heif(content) and not CAN_READ_HEIF:
                message = f"{name}: a HEIC picture; to read it: pip install 'glint-label[heif]'"
                raise ImageError("unsupported", message) from error
            message = f"{name}: not a PNG, JPEG, WebP, BMP, TIFF or AVIF image"
            raise ImageError("not_an_image", message) from error
        # A decoder may raise anything on a damaged file; one file must not end a job of thousands.
        except Exception as error:
            raise ImageError("truncated", f"{name}: truncated or damaged ({error})") from error
    return pixels, warning


def _formats(content: bytes) -> tuple[str, ...]:
    if not CAN_READ_HEIF or not is_heif(content):
        return _FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Find how to turn a picture; only this one tag is read, so that no other can get in the way."""
    if image.format == "HEIF":
        return None  # its decoder has turned it
    exif = image.info.get("exif")
    found = orientation_of(exif) if isinstance(exif, bytes) else None
    try:
        if found is None and image.format == "TIFF":
            found = image.tag_v2.get(_ORIENTATION)  # type: ignore[attr-defined]
        if found is None:
            found = image.getexif().get(_ORIENTATION)  # as text in a PNG, or in XMP
        return _TURNS.get(found) if isinstance(found, int) else None
    except Exception:  # noqa: BLE001 (metadata that cannot be read says nothing about the pixels)
        return None


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{name}: {width} x {height}, the limit is {MAX_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"{name}: {width} x {height}, both sides must be at least {MIN_SIDE} px")
    # The second picture of an MPO is the camera's preview or depth map, not another frame.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError("animated", f"{name}: holds more than one frame or page")


def _transparent_key(image: Image.Image) -> tuple[int, ...] | None:
    """Take the grey value or colour that a PNG without alpha names as transparent; Pillow knows 8-bit ones only."""
    if image.format != "PNG" or image.mode not in ("L", "RGB", "I", "I;16") or "transparency" not in image.info:
        return None
    key = image.info.pop("transparency")
    return tuple(key) if image.mode == "RGB" else (key,)


def _matches(image: Image.Image, content: bytes, key: tuple[int, ...]) -> NDArray[np.bool_]:
    """Find the pixels of a PNG that equal its transparent key: (H, W)."""
    depth = content[24]
    samples = np.asarray(image)
    if image.mode == "L":
        return np.asarray(samples == key[0] * 255 // (2**depth - 1))
    if image.mode != "RGB":
        return np.asarray(samples == key[0])
    if depth < 16:
        return np.asarray((samples == key).all(axis=2))
    with Image.open(io.BytesIO(content), formats=("PNG",)) as again:
        # Pillow keeps the high bytes of 16-bit colours; read the other way round, they are the low ones.
        again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
        low = np.asarray(again)
    high_key, low_key = [value >> 8 for value in key], [value & 255 for value in key]
    return np.asarray(((samples == high_key) & (low == low_key)).all(axis=2))


def _warn_if_dim(image: Image.Image) -> str:
    """Say so where 16-bit samples hardly leave the low end."""
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    colours = [band for name, band in zip(image.getbands(), bands, strict=True) if name != "A"]
    # Pillow keeps 16 bits of grey, and the high byte of colours.
    if max(high for _, high in colours) > (_DIM if image.mode.startswith("I") else _DIM >> 8):
        return ""
    return (
        "its 16-bit samples reach a quarter of their range at most, so it looks almost black; if they hold 10, 12 or "
        "14 bits, stretch them to 16 first (12 bits: multiply by 16)"
    )


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ImageError("unsupported", f"{name}: 32-bit samples; save it with 8 or 16 bits")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("F", "LAB", "HSV"):
        raise ImageError("unsupported", f"{name}: samples of mode {image.mode}; save it as 8 or 16 bit RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        image = Image.alpha_composite(white, opaque)
    return np.array(image.convert("RGB"))


def encode_image(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Encode 8-bit RGB without loss as `.png`, `.webp` or `.bmp`.

    The first two at their fastest setting: three times as fast as the default for files a tenth larger.
    """
    if max(pixels.shape) > MAX_SIDES.get(suffix, max(pixels.shape)):
        raise InputError(
            f"{pixels.shape[1]} x {pixels.shape[0]}: a {suffix} file holds {MAX_SIDES[suffix]:,} px a side"
        )
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if suffix == ".png":
        image.save(buffer, "PNG", compress_level=1)
    elif suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True, method=0, exact=True)
    elif suffix == ".bmp":
        image.save(buffer, "BMP")
    else:
        raise InputError(f"cannot write {suffix!r} images; use .png, .webp or .bmp")
    return buffer.getvalue()
