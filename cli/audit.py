"""`glint-label audit`."""

import json
from pathlib import Path
from typing import Any

import click

from glint_cli.interrupt import STARTS_OVER, if_interrupted
from glint_cli.options import (
    FILE,
    PLACE,
    NameList,
    anchors_option,
    config_option,
    engine_options,
    higher_is_worse_option,
    json_option,
    warn_of_rising_scores,
)
from glint_cli.progress import show_progress
from glint_cli.text import table
from glint_label.errors import ThresholdError


@click.command()
@click.option("--source", default="kadid10k", metavar="NAME", help="Rated dataset.")
@click.option("--source-dir", type=PLACE, help="Folder of the dataset.  [default: as for build]")
@click.option("--allow-missing-anchors", is_flag=True, help="Continue without anchors that are missing.")
@anchors_option("Leave these anchors out.")
@click.option("--mos-range", type=(float, float), metavar="LOW HIGH", help="Range of the scores, for --source custom.")
@higher_is_worse_option
@click.option(
    "--embedder",
    default="packaged",
    metavar="LIST",
    type=NameList(),
    help="Embedders to try, comma-separated: packaged, statistics, efficientnet, clip, resnet101, hybrid.",
)
@click.option("--clip-weights", type=FILE, help="Local file with CLIP weights, instead of a download.")
@click.option(
    "--transfer",
    default="top1,knn,syndr,cell-mean,gp-content,gp",
    metavar="LIST",
    type=NameList(),
    help="Transfers to try, comma-separated.",
)
@click.option("--k", default=10, metavar="N", help="Number of neighbours averaged by knn.")
@click.option("--min-srocc", type=float, metavar="X", help="Exit with code 5 if the best SROCC is below this.")
@click.option("--out", type=PLACE, help="Folder for audit.json and audit.png.  [default: audits/NAME]")
@engine_options
@json_option
@config_option
def audit(
    source: str,
    source_dir: Path | None,
    allow_missing_anchors: bool,
    exclude_anchors: tuple[str, ...] | None,
    mos_range: tuple[float, float] | None,
    higher_is_worse: bool,
    embedder: tuple[str, ...],
    clip_weights: Path | None,
    transfer: tuple[str, ...],
    k: int,
    min_srocc: float | None,
    out: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Estimate label accuracy by leave-one-anchor-out.

    Every anchor of a rated dataset is labelled from the others, by the code
    that labels photos, and the labels are compared with its own ratings. For
    comparison, the same is done for simple baselines and for the noise of the
    raters.
    """
    if_interrupted(STARTS_OVER)
    from glint_label.audit import json_rows, leave_one_out
    from glint_label.audit.plot import write_audit
    from glint_label.sources import load_source

    rated = load_source(
        source,
        source_dir,
        allow_missing_anchors=allow_missing_anchors,
        mos_range=mos_range,
        higher_is_worse=higher_is_worse,
    )
    warn_of_rising_scores(rated, higher_is_worse)
    if exclude_anchors:
        rated = rated.without_anchors(exclude_anchors)
    report = leave_one_out(
        rated, embedder, transfer, k=k, clip_weights=clip_weights, workers=workers, progress=show_progress
    )
    folder = out or Path("audits") / source
    write_audit(report, folder)
    rows = json_rows(report.table)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        show(rows)
        if "gp" in transfer and not report.visible:
            click.echo("\ngp equals gp-content: none of this source's distortions can be made here")
        click.echo(
            "\nwithin: SROCC over the anchors of one distortion at one level, mean of all; per anchor: over its images"
        )
        click.echo(f"{len(report.anchors)} anchors; per distortion and similarity: {folder / 'audit.json'},")
        click.echo(f"picture: {folder / 'audit.png'}")
    best = max((row["srocc"] or -1.0 for row in rows if row["transfer"] in transfer), default=-1.0)
    if min_srocc is not None and best < min_srocc:
        raise ThresholdError(f"the best SROCC is {best:.4f}, below --min-srocc {min_srocc:g}")


def show(rows: list[dict[str, Any]]) -> None:
    """Print one line for each baseline and transfer, 95 % intervals over anchors in brackets."""
    header = ("embedder", "transfer", "within", "SROCC", "", "RMSE", "", "per anchor", "in 90 %", "error")
    lines = [
        (
            row["embedder"],
            row["transfer"],
            _number(row["srocc_within"]),
            _number(row["srocc"]),
            _interval(row["srocc_low"], row["srocc_high"]),
            _number(row["rmse"]),
            _interval(row["rmse_low"], row["rmse_high"]),
            _number(row["srocc_per_anchor"]),
            _number(row["coverage90"]),
            _number(row["mean_error"]),
        )
        for row in rows
    ]
    click.echo(table(header, lines))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:.3f} {high:.3f}]"
