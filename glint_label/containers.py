"""Picture files taken apart: without metadata that keeps a decoder from them; the one tag of it that counts."""

import re
import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PICTURE = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # what pixels depend on besides the critical chunks
_JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # APP1 to APP15 and comments; JFIF's and Adobe's name the colours
# Tags that say how a TIFF's samples are stored, and its orientation.
_TIFF_PICTURE = {*range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, *range(320, 326)}
_TIFF_PICTURE |= {330, 332, 334, 338, 339, 347, *range(512, 522), *range(529, 533)}
_ORIENTATION = 0x0112
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # EXIF's types of whole numbers
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def without_metadata(content: bytes) -> tuple[bytes, bytes] | None:
    """Take the metadata out of a JPEG, PNG, TIFF, AVIF or HEIC file; nothing of the picture itself is touched.

    Args:
        content: The file.

    Returns:
        The file that is left, and its EXIF block; None where it is of another kind or cannot be taken apart.
    """
    try:
        if content.startswith(b"\xff\xd8"):
            return _split([*_jpeg_parts(content)])
        if content.startswith(_PNG):
            return _split([(True, _PNG), *_png_parts(content)])
        if content.startswith((b"II*\0", b"MM\0*")):
            return _bare_tiff(content), b""
        if content[4:8] == b"ftyp":  # which way up is no part of EXIF there; items of an unknown type are passed over
            return re.sub(rb"(infe.{8})(?:Exif|mime)", rb"\1free", content, flags=re.DOTALL), b""
    except (struct.error, IndexError):
        return None
    return None


def is_heif(content: bytes) -> bool:
    """Tell whether a file says that it is a HEIC or HEIF picture."""
    return content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS


def orientation_of(exif: bytes) -> int | None:
    """Read the orientation out of an EXIF block, whatever else is wrong with it.

    Returns:
        1 to 8 where it is in order; None where there is none.
    """
    block = re.sub(rb"^(?:Exif\0\0)+", b"", exif)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, entry)
            if tag == _ORIENTATION and kind in _NUMBERS:
                return int(struct.unpack_from(f"{order}{_NUMBERS[kind]}", block, entry + 8)[0])
    except struct.error:  # the block ends early
        return None
    return None


def _split(parts: list[tuple[bool, bytes]]) -> tuple[bytes, bytes]:
    """Join what belongs to the picture; find the EXIF block in the rest."""
    exif = [part for keep, part in parts if not keep and part[4:8] in (b"Exif", b"eXIf")]
    picture = b"".join(part for keep, part in parts if keep)
    if not exif:
        return picture, b""
    return picture, exif[0][4:] if exif[0][4:8] == b"Exif" else exif[0][8:-4]


def _jpeg_parts(content: bytes) -> Iterator[tuple[bool, bytes]]:
    """Cut into segments, and tell of each whether it belongs to the picture."""
    yield True, content[:2]
    place = 2
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA:  # the scan begins
            break
        (length,) = struct.unpack_from(">H", content, place + 2)
        yield marker not in _JPEG_METADATA, content[place : place + 2 + length]
        place += 2 + length
    yield True, content[place:]


def _png_parts(content: bytes) -> Iterator[tuple[bool, bytes]]:
    """Cut into chunks, and tell of each whether it belongs to the picture."""
    place = len(_PNG)
    while place < len(content):
        name = content[place + 4 : place + 8]
        (length,) = struct.unpack_from(">I", content, place)
        yield name[:1].isupper() or name in _PNG_PICTURE, content[place : place + 12 + length]
        place += 12 + length


def _bare_tiff(content: bytes) -> bytes:
    """Leave only the picture's tags in the first directory, in its place."""
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    end = start + 2 + 12 * count
    entries = [content[place : place + 12] for place in range(start + 2, end, 12)]
    kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] in _TIFF_PICTURE]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + content[end : end + 4]
    return content[:start] + directory + content[start + len(directory) :]
