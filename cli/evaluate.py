"""`glint-label evaluate`."""

import json
import os
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glint_cli.build import parse_anchors
from glint_cli.options import config_option, json_option
from glint_cli.progress import show_progress
from glint_cli.text import count, table
from glint_label.files import make_folder, sha256_of, write_atomic
from glint_label.manifest import format_csv

if TYPE_CHECKING:
    from glint_model.evaluate import Agreement, Evaluation

_FILE = click.Path(path_type=Path)
_TITLES = {
    "srocc": "SROCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC, fitted",
    "krocc": "KROCC",
    "rmse": "RMSE",
    "rmse_fitted": "RMSE, fitted",
}
_SCORES = ("file_name", "group", "distortion", "level", "mos", "score")


def parse_types(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read names or numbers, separated by commas; the dataset knows which there are."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()


@click.command()
@click.option("--checkpoint", required=True, type=_FILE, help="Weights: FILE.safetensors.")
@click.option(
    "--dataset",
    required=True,
    metavar="NAME|FILE.csv",
    help="kadid10k, tid2013, csiq, live, koniq10k, clive, spaq, custom, or a table with file_name, mos[, group].",
)
@click.option("--data-dir", type=_FILE, help="Its folder.  [default: ./NAME, $GLINT_DATA/NAME, user data folder]")
@click.option("--allow-missing", is_flag=True, help="Go on without images that are not there.")
@click.option(
    "--pixels",
    default="disk",
    type=click.Choice(["disk", "regenerate"]),
    help="Read the distorted images, or make them from the anchors.",
)
@click.option("--anchors", metavar="LIST|FILE", callback=parse_anchors, help="Only images of these contents.")
@click.option("--types", metavar="LIST", callback=parse_types, help="Only these distortions: names or numbers.")
@click.option("--splits", default=0, type=click.IntRange(0), metavar="N", help="Median over N content splits too.")
@click.option("--crops", default=25, type=click.IntRange(0), metavar="N", help="Crops an image; 0: all of it.")
@click.option("--seed", default=0, metavar="N", help="Seed of crops, random distortions and intervals.")
@click.option("--device", default="auto", metavar="NAME", help="Torch device; auto takes a GPU if there is one.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes for pixels.  [default: one a core]")
@click.option("--out", type=_FILE, help="Folder for scores.csv, metrics.json and scatter.png.")
@json_option
@config_option
def evaluate(
    checkpoint: Path,
    dataset: str,
    data_dir: Path | None,
    allow_missing: bool,
    pixels: str,
    anchors: tuple[str, ...],
    types: tuple[str, ...],
    splits: int,
    crops: int,
    seed: int,
    device: str,
    workers: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare a network's scores with human ratings.

    Tells SROCC, PLCC, KROCC and RMSE, of all images and by distortion, with
    95 % intervals that draw whole contents.
    """
    from glint_label.embed import resolve_device
    from glint_model import GlintIQA
    from glint_model.datasets import load_dataset
    from glint_model.evaluate import choose_images, score_rated
    from glint_model.evaluate import evaluate as compare

    rated = load_dataset(dataset, data_dir).select(anchors, types)
    rated, missing = choose_images(rated, pixels, allow_missing)
    model = GlintIQA.load(checkpoint, resolve_device(device))
    scorer = partial(model.score_one, crops=crops, seed=seed)
    processes = (os.cpu_count() or 1) if workers is None else workers
    if out is not None:
        make_folder(out)
    scored = score_rated(rated, scorer, pixels, seed=seed, workers=processes, progress=show_progress)
    found = compare(scored, rated.distortions, splits=splits, seed=seed, progress=show_progress)
    figures = {
        "dataset": rated.name,
        "root": str(rated.root.resolve()),
        "scale": rated.scale,
        "mos_range": list(rated.mos_range),
        "missing": missing,
        "pixels": pixels,
        "crops": crops,
        "seed": seed,
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256_of(checkpoint),
        **found.to_dict(),
    }
    if out is not None:
        from glint_model.plots import scatter

        title = f"{checkpoint.name} on {rated.name}: {count(len(scored))} images of {count(found.contents)} contents"
        write_atomic(out / "scores.csv", format_csv(_SCORES, scored[list(_SCORES)].itertuples(index=False)))
        write_atomic(out / "metrics.json", json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        write_atomic(out / "scatter.png", scatter(scored, found.pooled.metrics, title))
    if as_json:
        click.echo(json.dumps(figures, indent=1, ensure_ascii=False))
    else:
        show(figures, found)
        if out is not None:
            click.echo(f"\nscores.csv, metrics.json and scatter.png are in {out}")


def show(figures: dict[str, Any], found: "Evaluation") -> None:
    """Print the figures."""
    images = f"{count(found.pooled.metrics.images)} images of {count(found.contents)} contents"
    missing = f", {count(figures['missing'])} are missing" if figures["missing"] else ""
    made = "made from the anchors" if figures["pixels"] == "regenerate" else "read from disk"
    crops = f"{figures['crops']} crops each" if figures["crops"] else "covered whole"
    click.echo(f"{figures['dataset']}: {images}{missing}; {made}, {crops}")
    low, high = figures["mos_range"]
    click.echo(f"Opinions {low:g} .. {high:g}: {figures['scale']}")
    click.echo()
    header = ["", "all images", "95 % over contents"] + (["median of splits"] if found.splits else [])
    rows = [
        [
            title,
            number(getattr(found.pooled.metrics, name)),
            interval(found.pooled, name),
            *([number(found.median[name])] if found.splits else []),
        ]
        for name, title in _TITLES.items()
    ]
    click.echo(table(header, rows))
    if found.splits:
        click.echo(f"  ({len(found.splits)} content-disjoint splits: each time a fifth of the contents is tested)")
    if found.distortions:
        click.echo("\nBy distortion")
        click.echo(by_distortion(found.distortions))
    for name, agreement in {"all images": found.pooled, **found.distortions}.items():
        if agreement.metrics.warning:
            click.echo(f"  - {name}: {agreement.metrics.warning}")


def by_distortion(distortions: "dict[str, Agreement]") -> str:
    """Lay out a line per distortion."""
    header = ["distortion", "images", "SROCC", "95 %", *list(_TITLES.values())[1:]]
    rows = []
    for name, agreement in distortions.items():
        metrics = agreement.metrics
        figures = [number(getattr(metrics, title)) for title in list(_TITLES)[1:]]
        rows.append([name, count(metrics.images), number(metrics.srocc), interval(agreement, "srocc"), *figures])
    return table(header, rows)


def number(value: float) -> str:
    """Write a figure; `-` where there is none."""
    return f"{value:.3f}" if isfinite(value) else "-"


def interval(agreement: "Agreement", name: str) -> str:
    """Write an interval; `-` where there is none."""
    low, high = agreement.interval[name]
    return f"{low:.3f} .. {high:.3f}" if isfinite(low) else "-"
