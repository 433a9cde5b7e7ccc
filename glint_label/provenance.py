"""Which versions made an output: the tool, its libraries, its codecs, the machine."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from PIL import features

import glint_label

LIBRARIES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "faiss-cpu",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "scikit-image",
)
CODECS = {
    "jpg": "JPEG",
    "jpg_2000": "JPEG 2000 (OpenJPEG)",
    "zlib": "PNG (zlib)",
    "webp": "WebP",
    "libtiff": "TIFF",
}


def library_versions() -> dict[str, str | None]:
    """Look up the installed version of each library; None where it is missing."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def codec_versions() -> dict[str, str | None]:
    """Look up the version of each image codec that Pillow carries; None where it lacks one."""
    versions_of = {}
    for key, name in CODECS.items():
        present = features.check(key)
        versions_of[name] = (features.version(key) or "present") if present else None
    return versions_of


def differing_codecs(earlier: dict[str, Any]) -> list[str]:
    """Name the image codecs that are not those of an earlier call: other codecs may make other pixels.

    Args:
        earlier: What `versions` gave then.
    """
    before = {"Pillow": earlier.get("libraries", {}).get("pillow"), **earlier.get("codecs", {})}
    now = {"Pillow": library_versions()["pillow"], **codec_versions()}
    return [f"{name} {before[name]} -> {now[name]}" for name in now if name in before and before[name] != now[name]]


def versions() -> dict[str, Any]:
    """Gather all of them, for run.json."""
    return {
        "glint-label": glint_label.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": library_versions(),
        "codecs": codec_versions(),
    }
