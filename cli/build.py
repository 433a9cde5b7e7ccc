"""`glint-label build`."""

import os
from pathlib import Path
from typing import Any

import click

from glint_cli.options import config_option
from glint_cli.progress import show_progress
from glint_cli.text import count, duration, size
from glint_label.config import IMAGES, BuildConfig
from glint_label.embed import DEFAULT_MODEL
from glint_label.pipeline import BuildReport, run_plan
from glint_label.plan import make_plan
from glint_label.sources import SOURCES
from glint_label.transfer import TRANSFERS

_FILE = click.Path(path_type=Path)


def parse_anchors(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read `I13,I76`, or a file with one name a line."""
    if not value:
        return ()
    path = Path(value)
    names = path.read_text(encoding="utf-8").splitlines() if path.is_file() else value.split(",")
    return tuple(sorted({name.strip() for name in names if name.strip()}))


@click.command()
@click.option("--refs", required=True, type=_FILE, help="Folder of pristine photos.")
@click.option("--source", required=True, metavar="NAME", help=f"Rated dataset: {', '.join(SOURCES)}.")
@click.option("--source-dir", type=_FILE, help="Its folder.  [default: ./NAME, $GLINT_DATA/NAME, user data folder]")
@click.option("--allow-missing-anchors", is_flag=True, help="Go on without anchors that are not there.")
@click.option(
    "--exclude-anchors",
    metavar="LIST|FILE",
    callback=parse_anchors,
    help="Keep these anchors out of every label.",
)
@click.option(
    "--exclude-near",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Give no labels to near-duplicates of images in DIR.",
)
@click.option("--mos-range", type=(float, float), metavar="LOW HIGH", help="Range of the scores, for custom.")
@click.option(
    "--embedder",
    default="clip",
    metavar="NAME",
    help="clip, resnet101 (the paper's), statistics (needs no weights), hybrid or file:PATH.npz.",
)
@click.option("--clip-model", default=DEFAULT_MODEL, metavar="ARCH:TAG", help="open_clip model.")
@click.option("--clip-weights", type=_FILE, help="Local CLIP weights instead of the tag's.")
@click.option("--resnet-weights", type=_FILE, help="Local ResNet-101 weights instead of the hub's.")
@click.option("--transfer", default="gp", metavar="NAME", help=f"How labels are made: {', '.join(TRANSFERS)}.")
@click.option("--k", default=10, metavar="N", help="Neighbours listed, and averaged by knn.")
@click.option("--min-similarity", type=float, metavar="X", help="Give no labels below this similarity.")
@click.option("--images", default="none", type=click.Choice(IMAGES), help="Make the pixels too.")
@click.option("--out", type=_FILE, help="Output folder.  [default: manifests/NAME]")
@click.option("--workers", default=None, type=int, metavar="N", help="Processes.  [default: one a core]")
@click.option("--seed", default=0, metavar="N", help="Seed of all random distortions.")
@click.option("--device", default="auto", metavar="NAME", help="Torch device; auto takes a GPU if there is one.")
@click.option("--limit", type=int, metavar="N", help="Only the first N photos.")
@click.option("--dry-run", is_flag=True, help="Check everything, tell counts, bytes and time, write nothing.")
@click.option("--overwrite", is_flag=True, help="Delete an earlier build in --out first.")
@click.option("--retry-failed", is_flag=True, help="Try the photos in failed.csv again.")
@click.option("--max-failures", type=int, metavar="N", help="Stop with exit code 4 above this.  [default: no limit]")
@config_option
def build(dry_run: bool, overwrite: bool, retry_failed: bool, **options: Any) -> None:
    """Label every photo below a folder.

    Writes a manifest with one row per photo, distortion and level. A build
    that was stopped goes on when the same command is given again.
    """
    options["out"] = options["out"] or Path("manifests") / options["source"]
    options["workers"] = (os.cpu_count() or 1) if options["workers"] is None else options["workers"]
    plan = make_plan(BuildConfig(**options))
    if dry_run:
        from glint_label.estimate import estimate

        show_estimate(estimate(plan))
        return
    report = run_plan(plan, overwrite=overwrite, retry_failed=retry_failed, progress=show_progress)
    show_report(report)


def show_estimate(figures: dict[str, Any]) -> None:
    """Print what a build would do."""
    click.echo("Nothing was written. This build would make")
    click.echo(f"  references  {count(figures['references'])} in {count(figures['shards'])} shards")
    click.echo(f"  rows        {count(figures['rows'])} ({figures['cells']} per reference)")
    click.echo(f"  tables      {size(figures['table_bytes'])}")
    if figures["pixel_bytes"]:
        click.echo(f"  pixels      {size(figures['pixel_bytes'])}")
    click.echo(f"  time        about {duration(figures['seconds'])} with {figures['workers']} workers")
    if figures["free_bytes"] is not None:
        click.echo(f"  disk        {size(figures['free_bytes'])} free in {figures['out']}")


def show_report(report: BuildReport) -> None:
    """Print what a build ended with, and what to type next."""
    counts = report.counts
    labelled = counts["references"] - counts["abstained"] - counts["excluded"]
    click.echo(f"{count(counts['rows'])} rows for {count(labelled)} photos in {report.out}", nl=False)
    click.echo(f" ({duration(report.seconds)}, {count(counts['shards'])} shards", nl=False)
    click.echo(f", {count(report.resumed)} of them from before)" if report.resumed else ")")
    if counts["abstained"]:
        click.echo(f"  {count(counts['abstained'])} photos got no labels: less similar than --min-similarity")
    if counts["excluded"]:
        click.echo(f"  {count(counts['excluded'])} photos got no labels: near-duplicates of --exclude-near's")
    if counts["failed"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in report.failures.items())
        click.echo(f"  {count(counts['failed'])} photos could not be used ({reasons}): see shards/*/failed.csv")
    if report.left_out:
        click.echo(f"  distortions left out, they cannot be made here: {', '.join(report.left_out)}")
    if report.missing_anchors:
        click.echo(f"  anchors missing from the source: {', '.join(report.missing_anchors)}")
    click.echo(f"Next: glint-label inspect {report.out}")
