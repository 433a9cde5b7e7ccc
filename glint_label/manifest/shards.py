"""Shards: 64 references, the unit of work, of resume and of distribution, and the record that says one is done."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from glint_label.files import read_json, sha256_of, write_atomic
from glint_label.storage import is_stored

SHARD_SIZE = 64  # references; 64 x 125 = 8,000 rows, below the 10,000 files a folder that dataset hubs allow
SUCCESS = "_SUCCESS.json"
MEASURED = ("failed.csv", "embeddings.npz", "features.npz")  # what is written of a shard's photos
LABELLED = ("metadata.csv", "references.csv")  # what is written of its labels


@dataclass(frozen=True)
class Shard:
    """A run of consecutive references.

    Attributes:
        number: 0, 1, 2, ...
        names: Of its references, sorted.
        paths: Their files.
    """

    number: int
    names: tuple[str, ...]
    paths: Sequence[Path]


def cut_shards(names: Sequence[str], paths: Sequence[Path]) -> list[Shard]:
    """Cut named files into shards."""
    starts = range(0, len(names), SHARD_SIZE)
    return [
        Shard(number, tuple(names[start : start + SHARD_SIZE]), paths[start : start + SHARD_SIZE])
        for number, start in enumerate(starts)
    ]


def count_shards(references: int) -> int:
    """Tell how many shards so many references make."""
    return -(-references // SHARD_SIZE)


def shard_folder(out: Path, number: int) -> Path:
    """Name the folder of a shard."""
    return out / "shards" / f"{number:05d}"


def shard_folders(out: Path) -> list[Path]:
    """List the shards of a build, in order."""
    return sorted(path for path in (out / "shards").glob("[0-9]*") if path.is_dir())


@dataclass(frozen=True)
class ShardCounts:
    """What a finished shard holds."""

    references: int
    abstained: int
    excluded: int
    failed: int
    rows: int


@dataclass(frozen=True)
class FileFacts:
    """A file as it was written: its size in bytes and the hash of its content, hex."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileFacts":
        """Look at a file."""
        return cls(path.stat().st_size, sha256_of(path))


@dataclass(frozen=True)
class ShardRecord:
    """A shard's _SUCCESS.json.

    Attributes:
        config_sha256: Hash of the settings that made it.
        counts: What it holds.
        files: Name -> every file of the shard.
    """

    config_sha256: str
    counts: ShardCounts
    files: Mapping[str, FileFacts]

    def broken(self, folder: Path, names: Iterable[str] | None = None, *, hashed: bool = False) -> list[str]:
        """Name the files that are missing or not as they were written.

        Args:
            folder: The shard's.
            names: Which files; all by default. Those that the record does not have are passed over.
            hashed: Read them and compare their hashes; else their sizes.
        """
        wanted = self.files if names is None else [name for name in names if name in self.files]
        if is_stored(folder) and not hashed:  # one request for thousands of images
            sizes = folder.sizes()
            return [name for name in wanted if sizes.get(name) != self.files[name].bytes]
        return [name for name in wanted if not is_whole(folder / name, self.files[name], hashed)]


def is_whole(path: Path, facts: FileFacts, hashed: bool) -> bool:
    """Tell whether a file is there as it was written: its hash is compared, or else its size."""
    try:
        return path.stat().st_size == facts.bytes and (not hashed or sha256_of(path) == facts.sha256)
    except OSError:
        return False


def write_record(folder: Path, digest: str, counts: ShardCounts, pixels: Mapping[str, FileFacts]) -> None:
    """Mark a shard as done: written last, when all else is whole.

    Args:
        folder: The shard's.
        digest: Hash of the settings.
        counts: What it holds.
        pixels: Name -> pixel file, where the build makes them.
    """
    tables = {name: FileFacts.of(folder / name) for name in (*LABELLED, *MEASURED) if (folder / name).is_file()}
    files = {name: asdict(facts) for name, facts in {**tables, **dict(sorted(pixels.items()))}.items()}
    record = {"config_sha256": digest, **asdict(counts), "files": files}
    write_atomic(folder / SUCCESS, json.dumps(record, indent=1) + "\n")


def record_time(folder: Path) -> int | None:
    """Tell when a shard's record was written, ns; None where there is none.

    Only to notice within one call that the record is another one: clocks jump, and copies have any time at all.
    """
    try:
        return (folder / SUCCESS).stat().st_mtime_ns
    except OSError:
        return None


def read_record(folder: Path) -> ShardRecord | None:
    """Read a shard's record; None where it is not done, or the record is damaged."""
    try:
        record = read_json(folder / SUCCESS)
        counts = ShardCounts(*(int(record[name]) for name in ShardCounts.__dataclass_fields__))
        files = {name: FileFacts(int(facts["bytes"]), str(facts["sha256"])) for name, facts in record["files"].items()}
        whole = all(name in files for name in (*LABELLED, *MEASURED[:2]))
        # A record may come from anyone, and what it calls damaged is deleted: only files in the shard's own folder.
        whole = whole and all(Path(name).name == name and "\\" not in name for name in files)
        return ShardRecord(str(record["config_sha256"]), counts, files) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
