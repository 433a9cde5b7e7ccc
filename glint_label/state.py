"""The folder of a build: whose it is, what was asked for, whether it has finished."""

import json
import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glint_label.config import differences
from glint_label.errors import StateError
from glint_label.files import is_temporary, remove_temporaries, write_atomic
from glint_label.manifest import read_run
from glint_label.plan import Plan
from glint_label.provenance import versions


def prepare_folder(plan: Plan, overwrite: bool) -> None:
    """Clear up after a killed run, and delete an earlier build where that was asked for.

    Raises:
        StateError: The folder holds other files, or a build with other settings.
    """
    out = plan.config.out
    content = {path.name for path in out.iterdir() if not is_temporary(path)} - {".lock"}
    if content and "run.json" not in content:
        raise StateError(f"{out}: holds files that no build made ({min(content)}); choose an empty folder for --out")
    remove_temporaries(out)
    if not content:
        return
    if overwrite:
        # run.json goes last: a folder half deleted still says whose it is.
        for name in sorted(content - {"run.json"}):
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (out / "run.json").unlink()
        return
    old = read_run(out)
    changes = differences(old.get("config", {}), plan.settings)
    if old.get("refs") != str(plan.config.refs.resolve()):
        changes.append(f"refs: {old.get('refs')} -> {plan.config.refs.resolve()}")
    if changes:
        raise StateError(
            f"{out}: was made with other settings ({'; '.join(changes)}); "
            "choose another --out, or start again with --overwrite"
        )


def open_run(plan: Plan, command: Sequence[str]) -> dict[str, Any]:
    """Write run.json as it stands at the start, and return it."""
    config, source = plan.config, plan.source
    run = {
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(command),
        "refs": str(config.refs.resolve()),
        "source_dir": None if plan.shipped else str(source.root.resolve()),
        "config": plan.settings,
        "config_sha256": plan.digest,
        "seed": config.seed,
        "mos_range": list(source.mos_range),
        "anchors": len(source.anchors),
        "missing_anchors": list(source.missing_anchors),
        "distortions_left_out": list(plan.left_out),
        "ratings_note": source.note,
        "licences": {
            "ratings": source.licence,
            "ratings_citation": source.citation,
            "references": "those of your photos: this program does not know them",
        },
        "versions": versions(),
    }
    _write_run(config.out, run)
    return run


def close_run(
    plan: Plan, run: dict[str, Any], counts: dict[str, int], failures: dict[str, int], seconds: float
) -> None:
    """Write run.json with the counts of a finished build."""
    finished = {
        **run,
        "status": "complete",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(seconds, 1),
        "counts": counts,
        "failures": failures,
    }
    _write_run(plan.config.out, finished)


def _write_run(out: Path, run: dict[str, Any]) -> None:
    write_atomic(out / "run.json", json.dumps(run, indent=1, ensure_ascii=False) + "\n")
