"""Where photos and datasets lie: on a disk, or in an object store."""

import re
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeGuard, cast

from glint_label.errors import UsageError
from glint_label.storage.stored import STORES, Stored

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters at least: C:/ is a disk of Windows
_OTHER_NAMES = {"s3a": "s3", "gcs": "gs"}


def is_url(text: str) -> bool:
    """Tell whether a text is an address with a scheme, as `s3://bucket/key` is; or was one, before `Path` took it."""
    return _SCHEME.match(text) is not None


def place_of(text: "str | PurePath | Stored") -> Path:
    """Find the place that a user means.

    Args:
        text: A path, or an address that begins with s3://, gs:// or file://.

    Returns:
        A `Stored` for an address in an object store, which mypy takes for a Path.

    Raises:
        UsageError: The scheme is another one, or the address names no bucket.
    """
    if isinstance(text, Stored):
        return cast("Path", text)
    found = _SCHEME.match(str(text))
    if found is None:
        return Path(text)
    scheme, rest = found[1].lower(), str(text)[found.end() - 1 :]
    if scheme == "file":
        if rest.startswith("//") and not rest.startswith("///"):
            raise UsageError(f"{text}: must be written as file:///FOLDER, with the whole path")
        return Path("/" + rest.lstrip("/"))
    scheme = _OTHER_NAMES.get(scheme, scheme)
    if scheme not in STORES:
        known = ", ".join(f"{name}://" for name in (*STORES, "file"))
        raise UsageError(f"{text}: must be a path, or an address of {known}; copy it to one of these")
    if not rest.startswith("//"):
        raise UsageError(f"{text}: must begin with {scheme}://, as text; a Path takes one of the slashes out")
    key = PurePosixPath("/" + rest.lstrip("/"))
    if ".." in key.parts or len(key.parts) < 2:
        raise UsageError(f"{text}: must be written as {scheme}://BUCKET/FOLDER, without `..`")
    return cast("Path", Stored(scheme, key))


def is_stored(place: object) -> TypeGuard["Stored"]:
    """Tell whether a place lies in an object store."""
    return isinstance(place, Stored)


def lies_in(place: Path, folder: Path) -> bool:
    """Tell whether a place is a folder or lies below it, links followed; a link to itself lies nowhere."""
    try:
        return is_stored(place) == is_stored(folder) and place.resolve().is_relative_to(folder.resolve())
    except RuntimeError:
        return False
