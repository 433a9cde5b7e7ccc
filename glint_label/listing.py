"""The photos below a folder, and what is passed over there."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from glint_label.errors import InputError
from glint_label.files import open_regular
from glint_label.images import CAN_READ_HEIF, HEIF_SUFFIXES, SUFFIXES
from glint_label.names import as_text

# How files of pictures begin, whatever they are called.
_PICTURES = (
    *(
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"GIF8",
        b"8BPS",
        b"\0\0\0\x0cjP  ",
        b"\xff\x4f\xff\x51",
        b"\0\0\0\x0cJXL ",
        b"\xff\x0a",
    ),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"IIRO", b"IIU\0", b"FUJIFILM"),  # TIFF, most raw files
)


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes:
        names: Of the photos: paths below the folder as `names.as_text` writes them, sorted.
        files: Ending of files that are passed over, `hidden` or `other` -> how many.
        folders: `linked` or `hidden` -> how many folders are passed over.
        passed: All of these files and folders.
    """

    names: list[str]
    files: Mapping[str, int]
    folders: Mapping[str, int]
    passed: tuple[Path, ...] = ()

    @property
    def passed_over(self) -> str:
        """Say in words what is passed over; empty where that is nothing."""
        counted = (("file", self.files), ("folder", self.folders))
        text = ", ".join(_count(what, kinds) for what, kinds in counted if kinds)
        if not CAN_READ_HEIF and self.files.keys() & set(HEIF_SUFFIXES):
            text += "; to read HEIC: pip install 'glint-label[heif]'"
        return text


def _count(what: str, kinds: Mapping[str, int]) -> str:
    number = sum(kinds.values())
    ordered = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    each = ", ".join(f"{count:,} {kind}" for kind, count in ordered)
    return f"{number:,} {what}{'s' if number > 1 else ''} passed over ({each})"


def list_images(root: Path) -> Listing:
    """Find every image file below a folder.

    Files with other endings and hidden files are passed over, and so are hidden and linked folders: a link may lead
    out of the folder, or round in circles. Linked files count as files.

    Raises:
        InputError: The folder does not exist, holds no image, or a folder in it cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"{as_text(root)}: no such folder; pass the folder of pristine photos")
    found: list[str] = []
    files: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    passed: list[Path] = []
    for here, below, names in os.walk(root, onerror=_refuse):
        place = Path(here)
        for name in tuple(below):
            if kind := _kind_of_folder(place / name):
                below.remove(name)
                folders[kind] += 1
                passed.append(place / name)
        for name in names:
            if kind := _kind_of_file(name):
                files[kind] += 1
                passed.append(place / name)
            else:
                found.append(as_text((place / name).relative_to(root)))
    listing = Listing(sorted(found), dict(files), dict(folders), tuple(sorted(passed)))
    if not found:
        also = f" ({listing.passed_over})" if passed else ""
        raise InputError(f"{as_text(root)}: holds no image{also}; supported are {', '.join(SUFFIXES)}")
    return listing


def list_all_images(root: Path) -> list[str]:
    """Find every image file below a folder where none may be missed.

    Raises:
        InputError: As `list_images`; and something there is passed over and may be a picture.
    """
    listing = list_images(root)
    for path in listing.passed:
        if _may_show(path):
            raise InputError(
                f"{as_text(path)}: is passed over, so copies of what it may show cannot be found; convert it to PNG, "
                "put the folder itself in the place of a link, or take it out"
            )
    return listing.names


def _refuse(error: OSError) -> NoReturn:
    raise InputError(
        f"{as_text(Path(error.filename))}: cannot be read ({error.strerror}), so photos may be missing; "
        "grant access to it, or move it out of the folder"
    ) from error


def _kind_of_folder(path: Path) -> str:
    """Say as what a folder is passed over; empty where it is entered."""
    if path.name.startswith("."):
        return "hidden"
    # Path.is_symlink raises where a folder cannot be looked at; to enter it raises too, and with its name.
    return "linked" if os.path.islink(path) else ""  # noqa: PTH114


def _kind_of_file(name: str) -> str:
    """Say as what a file is passed over; empty where it is not."""
    if name.startswith("."):
        return "hidden"
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES:
        return ""
    return suffix if re.fullmatch(r"\.\w{1,8}", suffix) else "other"


def _may_show(path: Path) -> bool:
    """Tell whether what is passed over may be, or hold, a picture."""
    if not path.is_dir():
        return _may_be_picture(path)
    if path.is_symlink():
        return True
    inside = ((Path(here), below, names) for here, below, names in os.walk(path, onerror=_refuse))
    return any(
        any((here / name).is_symlink() for name in below) or any(_may_be_picture(here / name) for name in names)
        for here, below, names in inside
    )


def _may_be_picture(path: Path) -> bool:
    """Judge a file by its first bytes; one that cannot be read may be a picture."""
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return True
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    return head.startswith(_PICTURES) or head[4:8] == b"ftyp" or head[8:12] == b"WEBP" or bitmap
