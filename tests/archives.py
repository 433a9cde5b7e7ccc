"""Rated datasets as their authors pack them, with made-up scores and small photos."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache

from PIL import Image

from glint_label.sources import kadid10k, tid2013
from tests.conftest import make_photo


def photo_bytes(seed: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_photo(seed, 72, 64)).save(buffer, kind)
    return buffer.getvalue()


@cache
def kadid10k_files() -> dict[str, bytes]:
    """A complete KADID-10k without distorted images: name -> content."""
    rows = [
        f"{anchor}_{number:02d}_{level:02d}.png,{anchor}.png,{5 - level * 0.8:.2f},0.49"
        for anchor in kadid10k.ANCHORS
        for number in range(1, 26)
        for level in range(1, 6)
    ]
    photos = {f"images/{anchor}.png": photo_bytes(seed, "PNG") for seed, anchor in enumerate(kadid10k.ANCHORS)}
    return {"dmos.csv": "\n".join(["dist_img,ref_img,dmos,var", *rows]).encode(), **photos}


@cache
def tid2013_files() -> dict[str, bytes]:
    """A complete TID2013 without distorted images."""
    names = [
        f"{anchor}_{n:02d}_{level}.bmp" for anchor in tid2013.ANCHORS for n in range(1, 25) for level in range(1, 6)
    ]
    photos = {
        f"reference_images/{anchor}.BMP": photo_bytes(seed, "BMP") for seed, anchor in enumerate(tid2013.ANCHORS)
    }
    scores = {
        "mos_with_names.txt": "\n".join(f"4.5 {name}" for name in names).encode(),
        "mos_std.txt": "\n".join("0.1" for _ in names).encode(),
    }
    return scores | photos


def zip_of(files: Mapping[str, bytes], below: str = "") -> bytes:
    """Pack files, in a folder of the archive if `below` names one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(below + name, content)
    return buffer.getvalue()


def rar_of(files: Mapping[str, bytes]) -> bytes:
    """Pack files as RAR 4 does those that it does not compress."""
    blocks = [b"Rar!\x1a\x07\x00", _rar_block(0x73, 0, bytes(6))]
    for name, content in files.items():
        size, checksum = len(content), zlib.crc32(content)
        fields = struct.pack("<IIBIIBBHI", size, size, 3, checksum, 0x5A210000, 20, 0x30, len(name), 0o100644)
        blocks += [_rar_block(0x74, 0x8000, fields + name.encode()), content]
    return b"".join([*blocks, _rar_block(0x7B, 0x4000, b"")])


def _rar_block(kind: int, flags: int, fields: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head
