"""The folder of a build: whose it is, what was asked for, every call that wrote into it."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glint_label.build.plan import Plan
from glint_label.embed import read_embedded
from glint_label.errors import InputError, StateError
from glint_label.files import format_json, sha256_of, write_atomic
from glint_label.folders import (
    BUILD,
    RUN_FILE,
    check_kind,
    delete_own,
    kind_of,
    lock_folder,
    own_content,
    refuse_links,
    remove_temporaries,
)
from glint_label.manifest import FileFacts, checksum_of, read_record, read_run, reference_path, shard_folder
from glint_label.manifest.shards import shard_folders
from glint_label.names import as_text
from glint_label.provenance import versions
from glint_label.render import check_codecs
from glint_label.settings import differences

_SHARD = r"shards/\d{5}"
OWN_FILES = (
    r"README\.md",
    r"run\.json",
    r"audit\.json",
    r"label_schema\.json",
    r"references\.csv",
    rf"{_SHARD}/(metadata\.csv|references\.csv|failed\.csv|embeddings\.npz|features\.npz|_SUCCESS\.json)",
    rf"{_SHARD}/[0-9a-f]{{16}}_\d\d_\d\.(png|webp)",
    r"anchors/embeddings\.npz",
    rf"watched/{_SHARD}/embeddings\.npz",
)


_TABLES = ("README.md", "label_schema.json", "references.csv")  # made again from the others where they differ

# What lies in the folder of a build.
_TOP = {*_TABLES, RUN_FILE, "audit.json", "croissant.json", "shards", "anchors", "watched"}


class BuildRun:
    """run.json of a build that is being written.

    Attributes:
        earlier: What it was before this call; empty for a new build, and where it was lost.
        lost: Whether it was lost or damaged, and taken to be this build's.
    """

    def __init__(self, plan: Plan, earlier: dict[str, Any], lost: bool, command: Sequence[str]) -> None:
        self._plan = plan
        self.earlier = earlier
        self.lost = lost
        self._started = time.monotonic()
        self._call: dict[str, Any] = {
            "command": shlex.join(command),
            "started": _now(),
            "versions": versions(),
        }
        self._calls = [*earlier.get("calls", []), self._call]
        # Still vouched for if this call is killed.
        kept = {name: facts for name, facts in earlier.get("files", {}).items() if name not in _TABLES}
        self._write("running", files=kept)

    @property
    def seconds(self) -> float:
        """Wall time of this call."""
        return time.monotonic() - self._started

    def close(self, counts: dict[str, int], failures: dict[str, int], anchor_similarity: dict[str, float]) -> None:
        """Say that the build is complete, and what it holds."""
        self._call |= {"finished": _now(), "wall_seconds": round(self.seconds, 1)}
        out = self._plan.config.out
        files = {path.relative_to(out).as_posix(): asdict(FileFacts.of(path)) for path in beside_shards(out)}
        results = {"counts": counts, "failures": failures, "anchor_similarity": anchor_similarity}
        self._write("complete", files=files, **results)

    def _write(self, status: str, **results: Any) -> None:
        plan, config, source = self._plan, self._plan.config, self._plan.source
        run = {
            "kind": BUILD,
            "status": status,
            "refs": str(plan.refs),
            "source_dir": None if plan.packaged else str(source.root.resolve()),
            "config": plan.settings,
            "config_sha256": plan.digest,
            "seed": config.seed,
            "mos_range": list(source.mos_range),
            "anchors": len(source.anchors),
            "missing_anchors": list(source.missing_anchors),
            "passed_over": {"files": plan.listing.files, "folders": plan.listing.folders},
            "distortions_left_out": list(plan.left_out),
            "ratings_note": source.note,
            "licences": {
                "ratings": source.licence,
                "ratings_citation": source.citation,
                "references": "those of your photos: this program does not know them",
            },
            "calls": self._calls,
            **results,
        }
        write_atomic(config.out / RUN_FILE, format_json({**run, "sha256": checksum_of(run)}))


@contextmanager
def open_build(
    plan: Plan, *, overwrite: bool, repair: bool, strict: bool, command: Sequence[str]
) -> Iterator[BuildRun]:
    """Lock the folder of a build, clear up after a killed call, and write run.json.

    Args:
        plan: The build.
        overwrite: Delete an earlier build there first.
        repair: Take a folder that has lost its run.json for this build's where its shards say so.
        strict: Refuse to go on with other image codecs than those of earlier calls.
        command: The command line, for run.json.

    Raises:
        StateError: The folder holds something else, or a build with other settings or other photos.
    """
    out = plan.config.out
    if repair and not own_content(out):
        raise StateError(f"{out}: holds no build, so there is nothing to repair; leave --repair out to make one")
    with lock_folder(out):
        earlier: dict[str, Any] = {}
        if lost := repair and _has_lost_run(plan):
            _check_photos(plan)
        elif check_kind(out, BUILD):
            if overwrite:
                delete_own(out, OWN_FILES)
            else:
                earlier = read_run(out)
                _check_settings(plan, earlier)
                check_codecs(out, earlier, strict)
        refuse_links(out)  # after --overwrite has taken them away
        remove_temporaries(out)
        yield BuildRun(plan, earlier, lost, command)


def beside_shards(out: Path) -> list[Path]:
    """List the files of a build whose hashes its run.json holds."""
    watched = [folder / "embeddings.npz" for folder in shard_folders(out / "watched")]
    files = [*(out / name for name in (*_TABLES, "audit.json", "anchors/embeddings.npz")), *watched]
    return [path for path in files if path.is_file()]


def _has_lost_run(plan: Plan) -> bool:
    """Tell whether run.json is lost or damaged in what is this very build's folder, as its shards' records say."""
    out = plan.config.out
    if kind_of(out) not in (BUILD, None):
        return False
    try:
        read_run(out)
    except InputError:
        records = [read_record(shard_folder(out, shard.number)) for shard in plan.shards]
        made_by = {record.config_sha256 for record in records if record is not None}
        return made_by == {plan.digest} and set(own_content(out)) <= _TOP
    return False


def _check_settings(plan: Plan, earlier: dict[str, Any]) -> None:
    """Refuse to go on with other settings; where the photos have moved, with others of the same names.

    Raises:
        StateError: Says which settings differ, or which photo.
    """
    out = plan.config.out
    before, now = (settings["references"] for settings in (earlier["config"], plan.settings))
    if before != now:
        counts = f"{before['count']:,} then, {now['count']:,} now"
        raise StateError(
            f"{out}: holds a build of photos with other names ({counts}); choose another --out, or start again with "
            "--overwrite"
        )
    if changes := differences(earlier["config"], plan.settings):
        raise StateError(
            f"{out}: was made with other settings ({'; '.join(changes)}); "
            "choose another --out, or start again with --overwrite"
        )
    if earlier["refs"] != str(plan.refs):
        _check_photos(plan)


def _check_photos(plan: Plan) -> None:
    """Refuse to go on with other photos of the same names.

    Raises:
        StateError: Says which photo.
    """
    out = plan.config.out
    for shard in plan.shards:
        try:
            photos = read_embedded(shard_folder(out, shard.number) / "embeddings.npz")
        except StateError:
            continue  # it will be measured again anyway
        for name, sha256 in zip(photos.names, photos.sha256, strict=True):
            path = reference_path(plan.refs, name)
            if not path.is_file() or sha256_of(path) != sha256:
                raise StateError(
                    f"{as_text(path)}: is not the photo that {out} was made with (its sha256 differs); "
                    "pass the same photos with --refs, or start again with --overwrite"
                )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
