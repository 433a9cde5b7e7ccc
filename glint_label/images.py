"""The only module that opens an image file: any supported photo becomes 8-bit RGB, or an ImageError.

What happens to each kind: 16 bit keeps the high byte; grey is repeated into three channels; a palette is looked up;
transparent pixels are laid on white; CMYK goes through Pillow's plain formula; the EXIF orientation is applied;
an ICC profile is left alone (the numbers in the file are the pixels).
"""

import hashlib
import io
import os
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from glint_label.errors import ImageError, InputError

VERSION = 1  # raise it with every change that gives some file other pixels
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MIN_SIDE = 64
# Pillow's own limit against decompression bombs, 89 megapixels; written out so that a new Pillow cannot move it.
MAX_PIXELS = 89_478_485
# The largest honest file of that many pixels: 16-bit RGBA without compression, and room for metadata.
MAX_BYTES = 8 * MAX_PIXELS + 2**26

# What Pillow's decoders are known to raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error)


# Width and height of a landscape picture, pixels; None leaves a photo at the size of its file.
Size = tuple[int, int] | None


@dataclass(frozen=True)
class Photo:
    """One decoded image.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        sha256: Of the file's bytes, hex.
        file_size: Width and height of the picture in the file, turned upright, before it was brought to size.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    file_size: tuple[int, int]


def list_images(root: Path) -> list[str]:
    """Name every image file below a folder, relative to it with forward slashes, sorted by name.

    Files with other endings and hidden files are passed over; linked folders are not entered.

    Raises:
        InputError: The folder does not exist, holds no image, or a name is not valid UTF-8.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the folder of pristine photos")
    names = sorted(_walk(root))
    if not names:
        raise InputError(f"{root}: holds no image; supported are {', '.join(SUFFIXES)}")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{root}: the file name {name!r} is not valid UTF-8; rename it") from error
    return names


def _walk(root: Path) -> Iterator[str]:
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()


def read_photo(path: Path, sha256: str = "", size: Size = None) -> Photo:
    """Open, check and decode one image file, and bring it to size.

    Args:
        path: The file.
        sha256: Of the file's bytes as they were labelled; empty to take whatever is there.
        size: See `bring_to_size`.

    Raises:
        ImageError: With `reason` one of unreadable, empty, not_an_image, truncated, too_large, too_small,
            animated, unsupported, changed.
    """
    try:
        length = path.stat().st_size
        if length > MAX_BYTES:
            raise ImageError("too_large", f"{path}: {length:,} bytes, the limit is {MAX_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{path}: {error.strerror}") from error
    if not content:
        raise ImageError("empty", f"{path}: the file is empty")
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        raise ImageError("changed", f"{path}: is not the file that was labelled (its sha256 differs); restore it")
    pixels = _decode(content, path)
    return Photo(bring_to_size(pixels, size), found, (pixels.shape[1], pixels.shape[0]))


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
    wide, tall = size if width >= height else size[::-1]
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
    left, top = (reduced[0] - wide) // 2, (reduced[1] - tall) // 2
    return np.ascontiguousarray(pixels[top : top + tall, left : left + wide])


def _decode(content: bytes, path: Path) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a slip in a photo's metadata is no reason to refuse its pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_header(image, path)
                image.load()
                pixels = _to_rgb(image, path)
        except ImageError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ImageError("too_large", f"{path}: more than {MAX_PIXELS:,} pixels") from error
        except UnidentifiedImageError as error:
            message = f"{path}: not a PNG, JPEG, WebP, BMP or TIFF image"
            raise ImageError("not_an_image", message) from error
        except _DAMAGE as error:
            raise ImageError("truncated", f"{path}: truncated or damaged ({error})") from error
    return pixels


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{path}: {width} x {height}, the limit is {MAX_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"{path}: {width} x {height}, both sides must be at least {MIN_SIDE} px")
    # The second picture of an MPO is the camera's preview or depth map, not another frame.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError("animated", f"{path}: holds more than one frame or page")


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        grey = np.asarray(upright).astype(np.int64)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ImageError("unsupported", f"{path}: 32-bit samples; save it with 8 or 16 bits")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if upright.mode in ("F", "LAB", "HSV"):
        raise ImageError("unsupported", f"{path}: samples of mode {upright.mode}; save it as 8 or 16 bit RGB")
    if upright.has_transparency_data:
        opaque = upright.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        upright = Image.alpha_composite(white, opaque)
    return np.array(upright.convert("RGB"))


def encode_image(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Encode 8-bit RGB without loss as `.png` or `.webp`.

    Both at their fastest setting: three times as fast as the default for files a tenth larger.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if suffix == ".png":
        image.save(buffer, "PNG", compress_level=1)
    elif suffix == ".webp":
        image.save(buffer, "WEBP", lossless=True, method=0, exact=True)
    else:
        raise InputError(f"cannot write {suffix!r} images; use .png or .webp")
    return buffer.getvalue()
