"""Reading a build: every file that is read is checked against the hash that was written with it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from glint_label.errors import InputError, StateError
from glint_label.files import read_json
from glint_label.folders import BUILD, RUN_FILE, describe_folder, kind_of
from glint_label.images import Size
from glint_label.manifest.shapes import AuditShape, RunShape, check_shape
from glint_label.manifest.shards import LABELLED, SUCCESS, count_shards, read_record, shard_folder
from glint_label.manifest.tables import REPAIR, read_metadata, read_references
from glint_label.storage import place_of


def digest_of(settings: dict[str, Any]) -> str:
    """Hash the settings of a build; hex."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def checksum_of(run: Mapping[str, Any]) -> str:
    """Hash all of a run.json but the field that holds this; hex."""
    return digest_of({key: value for key, value in run.items() if key != "sha256"})


def read_run(out: Path) -> dict[str, Any]:
    """Read a build's run.json.

    Raises:
        InputError: The folder is not a build; the error says what it is.
        StateError: run.json is damaged, or its settings have been edited.
    """
    if kind_of(out) != BUILD:
        raise InputError(f"{out}: {describe_folder(out)}, so it is not the output of `glint-label build`")
    path = out / RUN_FILE
    run = check_shape(RunShape, read_json(path), path)
    if digest_of(run["config"]) != run["config_sha256"]:
        raise StateError(f"{path}: its settings have been edited since the build (their hash differs); {REPAIR}")
    return run


def size_of(run: dict[str, Any]) -> Size:
    """Tell what a build brought its photos to, from its run.json; builds made before sizes existed left them alone."""
    size = run["config"].get("size", "native")
    return None if size == "native" else (int(size[0]), int(size[1]))


def root_of(run: dict[str, Any], refs: Path | None = None) -> Path:
    """Find the root of a build's references.

    Args:
        run: Its run.json.
        refs: Where they are now, if not where run.json says.

    Raises:
        InputError: There is no such folder.
    """
    root = refs or place_of(run["refs"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the folder of the references with --refs")
    return root


def read_audit(out: Path) -> dict[str, Any] | None:
    """Read a build's audit.json; None where there is none.

    Raises:
        StateError: It is damaged.
    """
    path = out / "audit.json"
    if not path.is_file():
        return None
    try:
        report = read_json(path)
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: damaged ({error}); {REPAIR}") from error
    return check_shape(AuditShape, report, path)


@dataclass(frozen=True)
class ShardTables:
    """The tables of a finished shard, whole and as they were written.

    Attributes:
        folder: Of the shard.
        number: Of the shard.
        config_sha256: Hash of the settings that made it.
        metadata: Its rows, typed.
        references: The rows of its references.csv, as text.
        sha256: Hash of both, hex.
    """

    folder: Path
    number: int
    config_sha256: str
    metadata: pd.DataFrame
    references: list[dict[str, str]]
    sha256: str


def read_shard(out: Path, number: int) -> ShardTables:
    """Read a finished shard's tables.

    Raises:
        StateError: The shard is not finished, or a table is missing, edited or malformed.
    """
    folder = shard_folder(out, number)
    record = read_record(folder)
    if record is None:
        state = "damaged" if (folder / SUCCESS).is_file() else "is missing"
        raise StateError(f"{folder / SUCCESS}: {state}; {REPAIR}")
    for name in record.broken(folder, LABELLED, hashed=True):
        state = "has changed since it was built (its sha256 differs)" if (folder / name).is_file() else "is missing"
        raise StateError(f"{folder / name}: {state}; {REPAIR}")
    digest = hashlib.sha256("".join(record.files[name].sha256 for name in LABELLED).encode()).hexdigest()
    metadata = read_metadata(folder / "metadata.csv")
    references = read_references(folder / "references.csv")
    return ShardTables(folder, number, record.config_sha256, metadata, references, digest)


def finished_shards(out: Path, run: dict[str, Any]) -> list[int]:
    """Number the shards of a build that are finished.

    Args:
        out: The build.
        run: Its run.json.
    """
    expected = range(count_shards(int(run["config"]["references"]["count"])))
    return [number for number in expected if (shard_folder(out, number) / SUCCESS).is_file()]


def iterate_shards(out: Path) -> Iterator[ShardTables]:
    """Yield the tables of each finished shard; memory holds one shard at a time."""
    for number in finished_shards(out, read_run(out)):
        yield read_shard(out, number)


def read_manifest(out: Path | str) -> pd.DataFrame:
    """Read a whole build's rows, with the column `shard` added.

    Args:
        out: The folder that `glint-label build` made, or its address.

    Raises:
        InputError: The folder is not a build, or has no finished shard.
        StateError: A shard is damaged.
    """
    root = place_of(out)
    tables = [shard.metadata.assign(shard=shard.number) for shard in iterate_shards(root)]
    if not tables:
        raise InputError(f"{root}: has no finished shard yet; run the same build command again to go on")
    return pd.concat(tables, ignore_index=True)
