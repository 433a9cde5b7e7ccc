"""`glint-label score`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glint_cli.interrupt import if_interrupted, needs_out
from glint_cli.options import FILE, PLACE, config_option, device_option, json_option, workers_option
from glint_cli.progress import show_progress
from glint_cli.scoring import checkpoint_option, crops_option, open_scorer
from glint_cli.terminal import shows_unicode
from glint_cli.text import count
from glint_label.errors import InputError, UsageError
from glint_label.files import write_atomic
from glint_label.manifest import format_csv
from glint_label.names import guarded

if TYPE_CHECKING:
    from glint_model.evaluation.score import Scored


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PLACE)
@checkpoint_option
@click.option("--out", type=FILE, help="FILE.csv or FILE.json instead of stdout.")
@click.option(
    "--explain", is_flag=True, help="Write a map of each image too: where the network sees damage. Needs --out."
)
@crops_option
@click.option("--seed", default=0, metavar="N", help="Seed of the crops' places.")
@device_option
@workers_option
@json_option
@config_option
def score(
    paths: tuple[Path, ...],
    checkpoint: Path | None,
    out: Path | None,
    explain: bool,
    crops: int | None,
    seed: int,
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Score images, and all images in folders.

    A bad image gets a row with its error and a line on stderr; exit code 3
    only if no image could be scored. If it is stopped, the same command with
    --out goes on where it was.
    """
    if_interrupted(needs_out(out, "FILE"))
    from glint_model.evaluation.kept import KeptScores
    from glint_model.evaluation.score import list_inputs, score_files

    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--out {out}: must end in .csv or .json")
    if explain and out is None:
        raise UsageError("--explain: writes pictures, so it needs --out FILE.csv to put them beside")
    files = list_inputs(paths)
    network, scorer, made_with = open_scorer(checkpoint, device, crops, seed)
    kept = KeptScores(out, made_with)
    rows = score_files(files, scorer, min(workers, len(files)), show_progress, kept)
    as_json = as_json if out is None else out.suffix.lower() == ".json"
    plain = out is None and not shows_unicode(sys.stdout)
    content = to_json(rows, plain) if as_json else to_csv(rows)
    if out is None:
        click.echo(content, nl=False)
    else:
        write_atomic(out, content)
        kept.remove()
    maps = out.with_name(f"{out.stem}-maps") if out is not None and explain else None
    if maps is not None:
        from glint_model.evaluation.explain import write_maps

        wanted = [file for file, row in zip(files, rows, strict=True) if not row.error]
        write_maps(network, wanted, maps, show_progress)
    bad = [row for row in rows if row.error]
    for row in bad:
        click.echo(f"no score: {row.error}", err=True)
    if len(bad) == len(rows):
        raise InputError(f"none of {count(len(rows))} images could be scored, first: {bad[0].error}")
    if out is not None:
        failed = f", {count(len(bad))} could not be scored" if bad else ""
        before = f", {count(kept.reused)} of them before" if kept.reused else ""
        click.echo(f"{count(len(rows) - len(bad))} images scored in {out}{before}{failed}")
    if maps is not None:
        click.echo(f"Where the network sees damage, in red: {maps}")


def to_csv(rows: "list[Scored]") -> str:
    """Write file_name, score, error; no score for an image with an error."""
    lines = [(guarded(row.file_name), "" if row.error else f"{row.score:.6f}", row.error) for row in rows]
    return format_csv(("file_name", "score", "error"), lines)


def to_json(rows: "list[Scored]", plain: bool) -> str:
    """Write a list of objects with file_name, score and error; null for what there is not; plain: in ASCII."""
    entries = [
        {
            "file_name": row.file_name,
            "score": None if row.error else round(row.score, 6),
            "error": row.error or None,
        }
        for row in rows
    ]
    return json.dumps(entries, indent=1, ensure_ascii=plain) + "\n"
