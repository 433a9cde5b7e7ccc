"""Photos and rated datasets for the tests: small, made on the spot."""

import csv
import hashlib
import json
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glint_label.build.config import BuildConfig
from glint_label.sources.kadid10k import DISTORTIONS

# Python runs this when a worker starts. What a decoder does to a picture is told by the picture's size.
_BROKEN_DECODERS = """
import os, signal, time
from PIL import Image, ImageFile

def load(self, load=ImageFile.ImageFile.load):
    if self.size == (101, 79):
        os.kill(os.getpid(), signal.SIGSEGV)
    if self.size == (103, 79):
        time.sleep(3600)
    if self.size == (107, 79):
        hoard = [bytearray(1 << 40)]
    return load(self)

ImageFile.ImageFile.load = load
"""


# A shell lets what runs in the background ignore Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and goldens; tests that need it are skipped without it."""
    folder = Path(os.environ.get("GLINT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the shared data folder: set GLINT_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is measured on anchors out of the user's cache, and the user's cache out of the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and the program's folder of user data, which is not there yet; returns the latter."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("GLINT_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "glint-label"


def custom_build(refs: Path, rated: Path, out: Path, **options: Any) -> BuildConfig:
    """Settings of a small build from what `save_rated` saved, in this process."""
    fixed = {"source": "custom", "mos_range": (1, 5), "embedder": "statistics", "workers": 0}
    return BuildConfig(refs=refs, source_dir=rated, out=out, **(fixed | options))


def make_photo(seed: int, width: int = 96, height: int = 80) -> np.ndarray:
    """Draw something with edges, texture and colour: uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(2, 20) + y / rng.uniform(2, 20) + rng.uniform(0, 6)) for _ in range(3)]
    photo = 128 + 50 * np.stack(waves, axis=-1) + rng.normal(0, rng.uniform(1, 25), (height, width, 1))
    left, top = rng.integers(0, width // 2), rng.integers(0, height // 2)
    photo[top : top + height // 3, left : left + width // 3] = rng.integers(0, 256, 3)
    return np.clip(photo, 0, 255).astype(np.uint8)


def save_photos(folder: Path, names: Sequence[str], first_seed: int = 100) -> Path:
    """Save one photo a name below a folder."""
    for seed, name in enumerate(names, start=first_seed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_photo(seed)).save(folder / name)
    return folder


def save_sized(path: Path, width: int) -> None:
    """Save a photo 79 px high: with `broken_decoders`, a width of 101 crashes, 103 hangs, 107 eats memory."""
    Image.fromarray(make_photo(width, width=width, height=79)).save(path)


def save_rated(folder: Path, anchors: int = 5, distortions: Sequence[str] = DISTORTIONS[:2]) -> Path:
    """Save a rated dataset in the `custom` layout: five levels of each distortion, scores 1..5."""
    rng = np.random.default_rng(0)
    names = [f"anchors/a{number}.png" for number in range(anchors)]
    save_photos(folder, names, first_seed=0)
    with (folder / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("anchor", "distortion", "level", "mos", "std", "n"))
        for name in names:
            for distortion in distortions:
                for level in range(1, 6):
                    mos = np.clip(5.4 - 0.8 * level + rng.normal(0, 0.2), 1, 5)
                    writer.writerow((name, distortion, level, f"{mos:.2f}", "0.8", 30))
    return folder


@pytest.fixture
def refs(tmp_path: Path) -> Path:
    """Seven photos, two of them in a subfolder."""
    names = ["b.png", "a.jpg", "c.webp", "d.bmp", "e.tiff", "sub/f.png", "sub/g.png"]
    return save_photos(tmp_path / "refs", names)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """A rated dataset of five anchors, two distortions, five levels."""
    return save_rated(tmp_path / "rated")


def record_again(shard: Path) -> None:
    """Make a shard's record agree with its files, as one who forges a manifest would."""
    record = json.loads((shard / "_SUCCESS.json").read_text())
    for name in record["files"]:
        content = (shard / name).read_bytes()
        record["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (shard / "_SUCCESS.json").write_text(json.dumps(record))


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Read every file of a build but run.json and the lock: what must be the same however it was made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock")
    }


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Let the system refuse what would make a file longer, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def broken_decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes have decoders that crash, hang or eat memory at photos of some sizes."""
    folder = tmp_path / "decoders"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_BROKEN_DECODERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
