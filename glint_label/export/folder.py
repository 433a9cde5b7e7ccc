"""The folder of an export: whose it is, which parts are whole, and how it becomes visible in one go.

Everything is written below .export/unfinished, where no loader looks. Only when all of it is there is it moved to its
place; run.json says `complete` after that. .export/parts has a record of each part, and stays: by it the same command
knows what is whole.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from re import fullmatch
from typing import Any

from glint_label.errors import OutputError, StateError
from glint_label.export.format import NONE, Format
from glint_label.files import format_json, read_json, write_atomic
from glint_label.folders import EXPORT, RUN_FILE, check_kind, delete_own, lock_folder, remove_temporaries
from glint_label.manifest import FileFacts
from glint_label.manifest.shards import is_whole
from glint_label.provenance import versions
from glint_label.settings import differences

CARD = "README.md"
_HIDDEN = ".export"
_TABLES = (".csv", ".json", ".md")


class ExportFolder:
    """An export that is being written, or is complete.

    Args:
        out: The folder.
        form: What is written there.
        settings: What decides its bytes.
        build: Where it comes from, for run.json.
        command: The command line, for run.json.
    """

    def __init__(
        self, out: Path, form: Format, settings: Mapping[str, Any], build: Path, command: Sequence[str]
    ) -> None:
        self._out = out
        self._form = form
        self._settings = settings
        self._about = {
            "settings": settings,
            "build": str(build.resolve()),
            "command": shlex.join(command),
            "versions": versions(),
        }

    @property
    def staged(self) -> Path:
        """Where the files are until all of them are there."""
        return self._out / _HIDDEN / "unfinished"

    def is_complete(self, parts: Iterable[str]) -> bool:
        """Tell whether everything is in its place and as it was written."""
        run = _read(self._out / RUN_FILE)
        if run.get("status") != "complete":
            return False
        return self._is_whole(self._out, run.get("files", {})) and not self.missing(parts, self._out)

    def missing(self, parts: Iterable[str], root: Path | None = None) -> list[str]:
        """Name the parts that have not been made, or are no longer whole.

        Args:
            parts: All parts.
            root: Where their files are; by default where they wait for one another.
        """
        return [name for name in parts if not self._is_part_whole(name, root or self.staged)]

    def begin(self) -> None:
        """Take what is in its place back: from here on nothing of it looks whole."""
        self._write("running")
        tops = [pattern.split("/")[0] for pattern in (*self._form.files, CARD)]
        for path in sorted(self._out.iterdir()):
            if any(fullmatch(top, path.name) for top in tops):
                _move(path, self.staged / path.name)

    def record(self, part: str, files: Mapping[str, FileFacts]) -> None:
        """Note that a part is whole."""
        content = {"settings": self._settings, "files": {name: asdict(facts) for name, facts in files.items()}}
        write_atomic(self._record(part), json.dumps(content) + "\n")

    def finish(self, tables: Iterable[Path], rows: Mapping[str, int]) -> None:
        """Move everything to its place, and say last that it is complete."""
        files = {path.relative_to(self.staged).as_posix(): asdict(FileFacts.of(path)) for path in tables}
        remove_temporaries(self.staged)  # of workers that were killed, and whose parts others have made
        for path in sorted(self.staged.iterdir()):
            _move(path, self._out / path.name)
        self.staged.rmdir()
        self._write("complete", rows=rows, files=files)

    def _write(self, status: str, **results: Any) -> None:
        run = {"kind": EXPORT, "status": status, **self._about, **results}
        write_atomic(self._out / RUN_FILE, format_json(run))

    def _record(self, part: str) -> Path:
        return self._out / _HIDDEN / "parts" / f"{part}.json"

    def _is_part_whole(self, part: str, root: Path) -> bool:
        record = _read(self._record(part))
        return record.get("settings") == self._settings and self._is_whole(root, record.get("files", {}))

    def _is_whole(self, root: Path, files: Mapping[str, Any]) -> bool:
        """Compare hashes of tables and of whatever has no pixels in it, and sizes of the others."""
        plain = self._settings["images"] == NONE
        try:
            return all(
                is_whole(root / name, FileFacts(**facts), plain or name.endswith(_TABLES))
                for name, facts in files.items()
            )
        except (TypeError, AttributeError):
            return False


@contextmanager
def open_export(
    out: Path,
    form: Format,
    settings: Mapping[str, Any],
    build: Path,
    own_files: Sequence[str],
    *,
    overwrite: bool,
    command: Sequence[str],
) -> Iterator[ExportFolder]:
    """Lock the folder of an export and clear up after a killed call.

    Args:
        out: The folder; it may be empty or absent.
        form: What is to be written.
        settings: What decides its bytes.
        build: Where it comes from.
        own_files: Regular expressions of the files of every format.
        overwrite: Delete an earlier export there first.
        command: The command line, for run.json.

    Raises:
        StateError: The folder holds something else, or an export with other settings.
    """
    with lock_folder(out):
        if check_kind(out, EXPORT):
            if overwrite:
                delete_own(out, (*own_files, CARD, RUN_FILE, rf"\{_HIDDEN}/.+"))
            else:
                _check_settings(out, _read(out / RUN_FILE).get("settings", {}), settings)
        remove_temporaries(out)
        yield ExportFolder(out, form, settings, build, command)


def _check_settings(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changes = differences(before, now)
    remedy = "choose another --out, or start again with --overwrite"
    if changes and all(change.startswith("build.") for change in changes):
        raise StateError(f"{out}: was exported from another build, or the build has changed since; {remedy}")
    if changes:
        raise StateError(f"{out}: was exported with other settings ({'; '.join(changes)}); {remedy}")


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty where there is none."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _move(path: Path, to: Path) -> None:
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    except OSError as error:
        raise OutputError(f"{path}: cannot be moved to {to} ({error.strerror}); look what is in its way") from error
