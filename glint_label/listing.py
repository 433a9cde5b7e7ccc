"""The photos that a user names: files, lists of files, folders with what lies below them and what is passed over."""

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from glint_label.errors import InputError
from glint_label.files import open_regular
from glint_label.images import CAN_READ_HEIF, HEIF_SUFFIXES, SUFFIXES
from glint_label.names import as_text, from_text
from glint_label.storage import Stored, is_stored, place_of
from glint_label.texts import read_names

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

_SHOWN = 200  # characters of a line that is no path
_NO_PATH = "named as no file can be"  # objects: a//b, a/../b


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
        raise InputError(
            f"{as_text(root)}: no such folder or file; pass a folder of photos, a photo, or a list, one path a line"
        )
    listing = _look_through_store(root) if is_stored(root) else _look_through(root)
    if not listing.names:
        also = f" ({listing.passed_over})" if listing.passed else ""
        raise InputError(f"{as_text(root)}: holds no image{also}; supported are {', '.join(SUFFIXES)}")
    return listing


def _look_through(root: Path) -> Listing:
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
    return Listing(sorted(found), dict(files), dict(folders), tuple(sorted(passed)))


def _look_through_store(root: Stored) -> Listing:
    """List objects as files. Where a folder's name begins with a point, each object in it is passed over as hidden."""
    found: list[str] = []
    files: Counter[str] = Counter()
    passed: list[Path] = []
    for key in root.sizes():
        if key.endswith("/"):  # an empty object that stands for a folder
            continue
        *folders, name = key.split("/")
        if PurePosixPath(key).as_posix() != key or ".." in folders:
            kind = _NO_PATH
        else:
            kind = "hidden" if any(folder.startswith(".") for folder in folders) else _kind_of_file(name)
        if kind:
            files[kind] += 1
            passed.append(place_of(root if kind == _NO_PATH else root / key))
        else:
            found.append(as_text(key))
    return Listing(sorted(found), dict(files), {}, tuple(sorted(passed)))


def find_images(places: Sequence[Path]) -> tuple[Path, Listing]:
    """Find the photos of several places: image files, folders, and text lists of image files.

    A list has one path a line, from its own folder.

    Returns:
        The folder that all photos lie in, and the photos, each once.

    Raises:
        InputError: A place does not exist or holds no image, or an entry of a list names no image file.
    """
    if len(places) == 1 and (places[0].is_dir() or not places[0].exists()):
        root = places[0].resolve()
        return root, list_images(root)
    found: set[Path] = set()
    files: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    passed: list[Path] = []
    for place in places:
        if place.is_file() and place.suffix.lower() not in SUFFIXES:
            found.update(_read_list(place))
        elif place.exists() and not place.is_dir():
            found.add(_place_of(place))
        else:
            root = place.resolve()
            listing = list_images(root)
            found.update(root / from_text(name) for name in listing.names)
            files.update(listing.files)
            folders.update(listing.folders)
            passed += listing.passed
    root = _common_folder(found)
    names = sorted(as_text(path.relative_to(root)) for path in found)
    return root, Listing(names, dict(files), dict(folders), tuple(sorted(passed)))


def _common_folder(paths: Collection[Path]) -> Path:
    stored = [path for path in paths if is_stored(path)]
    if not stored:
        return Path(os.path.commonpath([path.parent for path in paths]))
    buckets = {(path.parents or (path,))[-1] for path in stored}
    if len(stored) < len(paths) or len(buckets) > 1:
        raise InputError(
            f"{stored[0]}: the photos of a build must lie in one bucket or on one disk; make a build of each"
        )
    root = stored[0].parent
    while not all(path.is_relative_to(root) for path in stored):
        root = root.parent
    return place_of(root)


def _place_of(path: Path) -> Path:
    """Make a path absolute; a link keeps its own name, which says what kind of file it is."""
    return path.parent.resolve() / path.name


def _read_list(path: Path) -> Iterator[Path]:
    if path.suffix.lower() in HEIF_SUFFIXES:
        raise InputError(f"{as_text(path)}: a HEIC picture; to read it: pip install 'glint-label[heif]'")
    try:
        entries = read_names(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{as_text(path)}: neither an image ({', '.join(SUFFIXES)}) nor a text list of images ({error})"
        ) from error
    if not entries:
        raise InputError(f"{as_text(path)}: the list names no image; write one path a line")
    if is_stored(path) and (outside := [entry for entry in entries if entry.startswith("/")]):
        raise InputError(f"{as_text(path)}: {outside[0]!r} begins with a slash; paths in a list start from it")
    for entry in entries:
        photo = place_of(entry) if "://" in entry else path.parent / entry
        stored = is_stored(photo)
        photo = _place_of(photo) if stored else photo  # no object is called `..`
        if reason := _unfit(photo):
            shown = as_text(entry if len(entry) <= _SHOWN else f"{entry[:_SHOWN]}...")
            raise InputError(f"{as_text(path)}: {shown}: {reason}; correct the list, its paths start from it")
        yield _place_of(photo)


def _unfit(photo: Path) -> str:
    """Say why a line of a list names no image; empty where it does."""
    try:
        if not photo.exists():
            return "no such file"
    except OSError as error:  # it may not be looked at, or is longer than any name: this line's fault, not the list's
        return str(error.strerror).lower()
    return "" if photo.suffix.lower() in SUFFIXES else f"not an image ({', '.join(SUFFIXES)})"


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
    if path.is_symlink() or is_stored(path):
        return True
    inside = ((Path(here), below, names) for here, below, names in os.walk(path, onerror=_refuse))
    return any(
        any((here / name).is_symlink() for name in below) or any(_may_be_picture(here / name) for name in names)
        for here, below, names in inside
    )


def _may_be_picture(path: Path) -> bool:
    """Judge a file by its first bytes; one that cannot be read may be a picture."""
    try:
        with io.BytesIO(path.read_bytes(16)) if is_stored(path) else open_regular(path) as file:
            head = file.read(16)
    except OSError:
        return True
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    return head.startswith(_PICTURES) or head[4:8] == b"ftyp" or head[8:12] == b"WEBP" or bitmap
