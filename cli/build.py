"""`glint-label build`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glint_cli.interrupt import STARTS_OVER, goes_on, if_interrupted
from glint_cli.options import (
    FILE,
    PLACE,
    PlacePath,
    anchors_option,
    command_line,
    config_option,
    device_option,
    engine_options,
    higher_is_worse_option,
    photo_timeout_option,
    strict_option,
    warn_of_rising_scores,
)
from glint_cli.progress import show_progress
from glint_cli.text import count, duration, many, size

if TYPE_CHECKING:
    from glint_label.build.pipeline import BuildReport


_SHOWN = 20  # damaged files


class PictureSize(click.ParamType):  # type: ignore[type-arg] # generic in the newest click only
    """`512x384`, or `native` for None."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int] | None:
        """Read width and height."""
        if value is None or value == "native":
            return None
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is not a size: write it like 512x384, or native", param, ctx)
        return int(found.group(1)), int(found.group(2))


@click.command()
@click.option(
    "--refs",
    required=True,
    multiple=True,
    type=PLACE,
    metavar="PATH",
    help="Pristine photos: a folder, a file, or a text file with one path a line; may be repeated. Here and below, "
    "s3:// and gs:// addresses are taken too.",
)
@click.option("--source", required=True, metavar="NAME", help="Rated dataset: kadid10k, tid2013, custom.")
@click.option(
    "--source-dir", type=PLACE, help="Folder of the dataset.  [default: ./NAME, $GLINT_DATA/NAME, user data folder]"
)
@click.option("--allow-missing-anchors", is_flag=True, help="Continue without anchors that are missing.")
@anchors_option("Keep these anchors out of every label.")
@click.option(
    "--exclude-near",
    metavar="DIR",
    type=PlacePath(stored=True, exists=True, file_okay=False),
    help="Do not label near-duplicates of images in DIR.",
)
@click.option("--mos-range", type=(float, float), metavar="LOW HIGH", help="Range of the scores, for --source custom.")
@higher_is_worse_option
@click.option(
    "--size",
    default="512x384",
    type=PictureSize(),
    metavar="WxH|native",
    help="Reduce photos to this size and crop them, as the raters saw pictures; native: leave them.",
)
@click.option(
    "--embedder",
    metavar="NAME",
    help="clip or resnet101 (the paper's), whose weights are downloaded; statistics, efficientnet or packaged (both), "
    "which need no download; hybrid (statistics and clip); file:PATH.npz.  [default: clip if the dataset is on this "
    "machine, else packaged]",
)
@click.option("--clip-model", default="ViT-B-32:laion2b_s34b_b79k", metavar="ARCH:TAG", help="open_clip model.")
@click.option("--clip-weights", type=FILE, help="Local file with CLIP weights, instead of a download.")
@click.option("--resnet-weights", type=FILE, help="Local file with ResNet-101 weights, instead of a download.")
@click.option(
    "--transfer",
    default="gp",
    metavar="NAME",
    help="How labels are made: top1, knn, syndr, cell-mean, gp-content, gp.",
)
@click.option("--k", default=10, metavar="N", help="Number of neighbours listed, and averaged by knn.")
@click.option(
    "--min-similarity", type=float, metavar="X", help="Do not label photos less similar than this to every anchor."
)
@click.option(
    "--images", default="none", type=click.Choice(["none", "png", "webp"]), help="Also write the distorted images."
)
@click.option("--out", type=PLACE, help="Output folder.  [default: manifests/NAME]")
@engine_options
@photo_timeout_option
@click.option("--seed", default=0, metavar="N", help="Seed of all random distortions.")
@device_option
@click.option("--limit", type=int, metavar="N", help="Use only the first N photos.")
@click.option("--dry-run", is_flag=True, help="Check everything and estimate size and time; write nothing.")
@click.option("--overwrite", is_flag=True, help="Delete an earlier build in --out first.")
@click.option("--repair", is_flag=True, help="Read every file of the build in --out, and make damaged ones again.")
@click.option("--retry-failed", is_flag=True, help="Try the photos in failed.csv again.")
@click.option(
    "--max-failures", type=int, metavar="N", help="Stop with exit code 4 if more photos fail.  [default: no limit]"
)
@strict_option
@config_option
def build(dry_run: bool, overwrite: bool, repair: bool, retry_failed: bool, strict: bool, **options: Any) -> None:
    """Label every photo in a folder.

    Writes a manifest with one row per photo, distortion and level. If it is
    stopped, run the same command again to continue.
    """
    if_interrupted(STARTS_OVER if dry_run else goes_on(without="--overwrite" if overwrite else ""))
    from glint_label.build.config import BuildConfig

    options["out"] = options["out"] or Path("manifests") / options["source"]
    options["exclude_anchors"] = tuple(sorted(options["exclude_anchors"] or ()))
    config = BuildConfig(**options)

    from glint_label.build.plan import make_plan

    plan = make_plan(config)
    click.echo(plan.labelled_by)
    warn_of_rising_scores(plan.source, config.higher_is_worse)
    if plan.listing.passed_over:
        click.echo(f"  {plan.listing.passed_over}")
    if dry_run:
        from glint_label.build.estimate import estimate

        show_estimate(estimate(plan))
        return
    from glint_label.build.pipeline import build as run

    report = run(
        plan, overwrite=overwrite, repair=repair, retry_failed=retry_failed, strict=strict, progress=show_progress
    )
    show_report(report, repair)


def show_estimate(figures: dict[str, Any]) -> None:
    """Print what a build would do."""
    click.echo("Nothing was written. This build would make")
    click.echo(f"  references  {count(figures['references'])} in {many(figures['shards'], 'shard')}")
    click.echo(f"  rows        {count(figures['rows'])} ({figures['conditions']} per reference)")
    click.echo(f"  tables      {size(figures['table_bytes'])}")
    if figures["pixel_bytes"]:
        click.echo(f"  pixels      {size(figures['pixel_bytes'])}")
    click.echo(f"  time        about {duration(figures['seconds'])} with {many(figures['workers'], 'worker')}")
    if figures["free_bytes"] is not None:
        click.echo(f"  disk        {size(figures['free_bytes'])} free in {figures['out']}")


def show_report(report: "BuildReport", repair: bool) -> None:
    """Print what a build ended with, and what to type next."""
    if report.damaged:
        click.echo(f"Made again, as {many(len(report.damaged), 'file')} had been damaged:")
        for line in report.damaged[:_SHOWN]:
            click.echo(f"  {line}")
        if len(report.damaged) > _SHOWN:
            click.echo(f"  ... and {count(len(report.damaged) - _SHOWN)} more")
    elif repair:
        click.echo("Every file is as it was written")
    counts = report.counts
    labelled = counts["references"] - counts["abstained"] - counts["excluded"]
    click.echo(f"{many(counts['rows'], 'row')} for {many(labelled, 'photo')} in {report.out}", nl=False)
    click.echo(f" ({duration(report.seconds)}, {many(counts['shards'], 'shard')}", nl=False)
    click.echo(f", {count(report.resumed)} of them finished before)" if report.resumed else ")")
    if counts["abstained"]:
        click.echo(f"  {many(counts['abstained'], 'photo')} got no labels: less similar than --min-similarity")
    if counts["excluded"]:
        click.echo(f"  {many(counts['excluded'], 'photo')} got no labels: near-duplicates of images in --exclude-near")
    if counts["failed"]:
        reasons = ", ".join(f"{number} {reason}" for reason, number in report.failures.items())
        click.echo(f"  {many(counts['failed'], 'photo')} could not be used ({reasons}): see shards/*/failed.csv")
    if report.other_size:
        click.echo(
            f"  {many(report.other_size, 'photo')} not of the size that the raters saw (smaller ones are never "
            "enlarged): labels are those of a picture of that size"
        )
    if report.left_out:
        click.echo(f"  distortions left out because they cannot be made here: {', '.join(report.left_out)}")
    if report.missing_anchors:
        click.echo(f"  without these anchors, which the source lacks: {', '.join(report.missing_anchors)}")
    click.echo(f"Next: {command_line('inspect', report.out)}")
