"""`glint-label verify`."""

import json
from pathlib import Path
from typing import Any

import click

from glint_cli.interrupt import STARTS_OVER, if_interrupted
from glint_cli.options import PLACE, config_option, engine_options, json_option, types_option
from glint_cli.progress import show_progress
from glint_cli.text import count, table
from glint_label.errors import ThresholdError

_TITLES = {
    "exact": "The same pixels are expected",
    "random": "The same statistics are expected: the published random numbers are not known",
    "network": "Another network: the published one's weights are not public",
}


@click.command()
@click.option("--source", default="kadid10k", metavar="NAME", help="Rated dataset.")
@click.option("--source-dir", type=PLACE, help="Folder of the dataset.  [default: as for build]")
@click.option("--allow-missing-anchors", is_flag=True, help="Continue without anchors that are missing.")
@types_option
@click.option(
    "--min-psnr", type=float, metavar="DB", help="Exit with code 5 if an image that should be exact is below this."
)
@engine_options
@json_option
@config_option
def verify(
    source: str,
    source_dir: Path | None,
    allow_missing_anchors: bool,
    types: tuple[str, ...],
    min_psnr: float | None,
    workers: int,
    as_json: bool,
) -> None:
    """Regenerate a source's own distorted images and compare.

    Shows, for each distortion and level, how close our pixels are to the
    files that the raters saw. Missing images are counted.
    """
    if_interrupted(STARTS_OVER)
    from glint_label.sources import load_source
    from glint_label.verify import summarise_comparisons
    from glint_label.verify import verify as compare

    rated = load_source(source, source_dir, allow_missing_anchors=allow_missing_anchors)
    images, missing = compare(rated, types, workers, show_progress)
    rows = summarise_comparisons(images)
    if as_json:
        click.echo(json.dumps({"images": len(images), "missing": missing, "rows": rows}, indent=1))
    else:
        show(rows)
        click.echo(f"\n{count(len(images))} images compared, {count(missing)} missing")
    exact = images[images["kind"] == "exact"].sort_values("psnr")
    if min_psnr is not None and len(exact) and exact["psnr"].iloc[0] < min_psnr:
        worst = exact.iloc[0]
        raise ThresholdError(
            f"{worst['anchor']}, {worst['distortion']}, level {worst['level']}: PSNR {worst['psnr']:.2f} dB "
            f"is below --min-psnr {min_psnr:g}"
        )


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table per kind."""
    header = ("distortion", "level", "images", "identical", "least PSNR", "median", "largest", "off", "to anchor")
    for kind, title in _TITLES.items():
        lines = [
            (
                row["distortion"],
                str(row["level"]),
                count(row["images"]),
                f"{row['identical']:.0%}",
                _decibels(row["psnr_least"]),
                _decibels(row["psnr_median"]),
                str(row["largest"]),
                f"{row['off']:.2%}",
                f"{row['psnr_to_anchor_difference']:+.3f}",
            )
            for row in rows
            if row["kind"] == kind
        ]
        if lines:
            click.echo(f"{title} (to anchor: our PSNR to the anchor less the published one's, dB)")
            click.echo(table(header, lines))


def _decibels(value: float | None) -> str:
    return "same" if value is None else f"{value:.2f}"
