"""`glint-label audit`."""

import json
import os
from pathlib import Path
from typing import Any

import click

from glint_cli.build import parse_anchors
from glint_cli.options import config_option, json_option
from glint_cli.progress import show_progress
from glint_cli.text import table
from glint_label.errors import ThresholdError, UsageError
from glint_label.sources import load_source
from glint_label.transfer import TRANSFERS

_FILE = click.Path(path_type=Path)


def parse_names(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    """Read names separated by commas."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


@click.command()
@click.option("--source", default="kadid10k", metavar="NAME", help="Rated dataset.")
@click.option("--source-dir", type=_FILE, help="Its folder.  [default: as for build]")
@click.option("--allow-missing-anchors", is_flag=True, help="Go on without anchors that are not there.")
@click.option("--exclude-anchors", metavar="LIST|FILE", callback=parse_anchors, help="Leave these anchors out.")
@click.option("--mos-range", type=(float, float), metavar="LOW HIGH", help="Range of the scores, for custom.")
@click.option("--embedder", default="statistics", metavar="LIST", callback=parse_names, help="As for build; commas.")
@click.option(
    "--transfer", default=",".join(TRANSFERS), metavar="LIST", callback=parse_names, help="Transfers to try; commas."
)
@click.option("--k", default=10, metavar="N", help="Neighbours averaged by knn.")
@click.option("--min-srocc", type=float, metavar="X", help="Exit with code 5 if the best SROCC is below this.")
@click.option("--out", type=_FILE, help="Folder of audit.json and audit.png.  [default: audits/NAME]")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes.  [default: one a core]")
@json_option
@config_option
def audit(
    source: str,
    source_dir: Path | None,
    allow_missing_anchors: bool,
    exclude_anchors: tuple[str, ...],
    mos_range: tuple[float, float] | None,
    embedder: tuple[str, ...],
    transfer: tuple[str, ...],
    k: int,
    min_srocc: float | None,
    out: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Tell how good the labels are: leave each anchor out.

    Every anchor of a rated dataset is labelled from the others, by the code
    that labels photos, and compared with its own ratings, next to trivial
    baselines and the noise of the raters.
    """
    from glint_label.audit import json_rows, run_audit, write_audit

    if not embedder or not transfer:
        raise UsageError("--embedder and --transfer want at least one name each")
    rated = load_source(source, source_dir, allow_missing_anchors=allow_missing_anchors, mos_range=mos_range)
    if exclude_anchors:
        rated = rated.without_anchors(exclude_anchors)
    processes = (os.cpu_count() or 1) if workers is None else workers
    report = run_audit(rated, embedder, transfer, k=k, workers=processes, progress=show_progress)
    folder = out or Path("audits") / source
    write_audit(report, folder)
    rows = json_rows(report.table)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        show(rows)
        if "gp" in transfer and not report.visible:
            click.echo("\ngp equals gp-content: none of this source's distortions can be made here")
        click.echo(f"\n{len(report.anchors)} anchors; per distortion and similarity: {folder / 'audit.json'},")
        click.echo(f"picture: {folder / 'audit.png'}")
    best = max((row["srocc"] or -1.0 for row in rows if row["transfer"] in transfer), default=-1.0)
    if min_srocc is not None and best < min_srocc:
        raise ThresholdError(f"the best SROCC is {best:.4f}, below --min-srocc {min_srocc:g}")


def show(rows: list[dict[str, Any]]) -> None:
    """Print one line for each baseline and transfer, 95 % intervals over anchors in brackets."""
    header = ("embedder", "transfer", "SROCC", "", "RMSE", "", "per anchor", "in 90 %", "std")
    lines = [
        (
            row["embedder"],
            row["transfer"],
            _number(row["srocc"]),
            _interval(row["srocc_low"], row["srocc_high"]),
            _number(row["rmse"]),
            _interval(row["rmse_low"], row["rmse_high"]),
            _number(row["srocc_per_anchor"]),
            _number(row["coverage90"]),
            _number(row["sharpness"]),
        )
        for row in rows
    ]
    click.echo(table(header, lines))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.3f} {high:.3f}]"
