"""What is damaged in a build: every file is compared with what was recorded when it was written."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glint_label.errors import StateError
from glint_label.folders import RUN_FILE
from glint_label.manifest.reading import checksum_of
from glint_label.manifest.schema import FAILED_COLUMNS
from glint_label.manifest.shards import LABELLED, MEASURED, SUCCESS, FileFacts, ShardCounts, is_whole, read_record
from glint_label.manifest.tables import read_metadata, read_references, read_rows

CHANGED, MISSING = "has changed since it was built", "is missing"


def damage_beside_shards(out: Path, run: Mapping[str, Any]) -> dict[str, str]:
    """Find what is damaged of the files that are about the whole build, run.json included.

    Args:
        out: The build.
        run: Its run.json. One that records no files, as of a build that has not finished, vouches for none.

    Returns:
        Path below the folder -> CHANGED or MISSING.
    """
    found = {} if run.get("sha256", checksum_of(run)) == checksum_of(run) else {RUN_FILE: CHANGED}
    for name, facts in _recorded(run):
        if not is_whole(out / name, facts, hashed=True):
            found[name] = _state(out / name)
    return found


def _recorded(run: Mapping[str, Any]) -> Iterator[tuple[str, FileFacts]]:
    """List the recorded files; an entry that is none, or leads out of the folder, counts as damage to run.json."""
    files = run.get("files")
    for name, facts in files.items() if isinstance(files, dict) else ():
        try:
            yield name, FileFacts(int(facts["bytes"]), str(facts["sha256"]))
        except (KeyError, TypeError, ValueError):
            continue


def damage_of_shard(folder: Path, digest: str, *, pixels: bool) -> dict[str, str]:
    """Find what is damaged in a shard.

    Args:
        folder: The shard's.
        digest: Hash of the settings of the build.
        pixels: Read pixel files and compare their hashes too; else their sizes.

    Returns:
        Name -> CHANGED or MISSING; `_SUCCESS.json` among them where the record itself is damaged.
    """
    record = read_record(folder)
    if record is None:
        return {SUCCESS: _state(folder / SUCCESS)}
    hashed = [name for name in record.files if pixels or name in (*LABELLED, *MEASURED)]
    broken = record.broken(folder, hashed, hashed=True)
    broken += record.broken(folder, [name for name in record.files if name not in hashed])
    found = {name: _state(folder / name) for name in broken}
    return found if record.config_sha256 == digest else {SUCCESS: CHANGED, **found}


def agree(counts: ShardCounts, references: Sequence[Mapping[str, str]], failures: int, rows: int) -> bool:
    """Tell whether the counts of a shard's record are those of its tables.

    Args:
        counts: Of the record.
        references: The rows of its references.csv.
        failures: How many rows its failed.csv has.
        rows: How many its metadata.csv has.
    """
    unlabelled = sum(row["weights"] in ("", "[]") for row in references)
    told = (counts.references, counts.abstained + counts.excluded, counts.failed, counts.rows)
    return told == (len(references), unlabelled, failures, rows)


def counts_agree(folder: Path) -> bool:
    """Read a shard's tables, and tell whether the counts of its record are theirs."""
    record = read_record(folder)
    try:
        references = read_references(folder / "references.csv")
        failures = read_rows(folder / "failed.csv", FAILED_COLUMNS)
        rows = read_metadata(folder / "metadata.csv", ("dist_level",))
    except StateError:
        return False
    return record is not None and agree(record.counts, references, len(failures), len(rows))


def _state(path: Path) -> str:
    return CHANGED if path.is_file() else MISSING
