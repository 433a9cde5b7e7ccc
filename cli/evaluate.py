"""`glint-label evaluate`."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glint_cli.interrupt import if_interrupted, needs_out
from glint_cli.options import (
    FILE,
    PLACE,
    NameList,
    config_option,
    device_option,
    higher_is_worse_option,
    json_option,
    warn_of_rising_scores,
    workers_option,
)
from glint_cli.progress import show_progress
from glint_cli.scoring import checkpoint_option, crops_option, open_scorer
from glint_cli.text import count, table, to_json
from glint_label.files import format_json, make_folder, write_atomic
from glint_label.manifest import format_csv
from glint_label.names import guarded

if TYPE_CHECKING:
    from glint_model.evaluation.evaluate import Evaluation
    from glint_model.evaluation.figures import MetricsAndIntervals

_TITLES = {
    "srocc": "SROCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC, fitted",
    "krocc": "KROCC",
    "rmse": "RMSE",
    "rmse_fitted": "RMSE, fitted",
}


@click.command()
@checkpoint_option
@click.option(
    "--dataset",
    required=True,
    metavar="NAME|FILE.csv",
    help="kadid10k, tid2013, csiq, live, koniq10k, clive, spaq, custom, or a table with file_name, mos[, group].",
)
@click.option("--data-dir", type=PLACE, help="Its folder.  [default: ./NAME, $GLINT_DATA/NAME, user data folder]")
@higher_is_worse_option
@click.option("--allow-missing", is_flag=True, help="Go on without images that are missing.")
@click.option(
    "--pixels",
    default="disk",
    type=click.Choice(["disk", "regenerate"]),
    help="Read the distorted images, or make them from the anchors.",
)
@click.option("--anchors", metavar="LIST|FILE", type=NameList(from_file=True), help="Only images of these contents.")
@click.option("--types", metavar="LIST", type=NameList(), help="Only these distortions: names or numbers.")
@click.option("--splits", default=0, type=click.IntRange(0), metavar="N", help="Median over N content splits too.")
@crops_option
@click.option("--seed", default=0, metavar="N", help="Seed of crops, random distortions and intervals.")
@device_option
@workers_option
@click.option("--out", type=FILE, help="Folder for scores.csv, metrics.json and scatter.png.")
@click.option("--html", type=FILE, help="Write a visual report to this file, with the worst misses.")
@json_option
@config_option
def evaluate(
    checkpoint: Path | None,
    dataset: str,
    data_dir: Path | None,
    higher_is_worse: bool,
    allow_missing: bool,
    pixels: str,
    anchors: tuple[str, ...] | None,
    types: tuple[str, ...] | None,
    splits: int,
    crops: int | None,
    seed: int,
    device: str,
    workers: int,
    out: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Compare a network's scores with human ratings.

    Tells SROCC, PLCC, KROCC and RMSE, of all images and by distortion, with
    95 % intervals that draw whole contents. If it is stopped, the same
    command with --out goes on where it was.
    """
    if_interrupted(needs_out(out, "DIR"))
    from glint_model.datasets import load_dataset
    from glint_model.evaluation import baselines
    from glint_model.evaluation.evaluate import choose_images, score_rated
    from glint_model.evaluation.evaluate import evaluate as compare
    from glint_model.evaluation.kept import KeptScores

    if html is not None:
        from glint_label.report import check_target

        check_target(html)
    rated = load_dataset(dataset, data_dir, higher_is_worse=higher_is_worse)
    if rated.source is not None:
        warn_of_rising_scores(rated.source, higher_is_worse)
    rated, missing = choose_images(rated.select(anchors or (), types or ()), pixels, allow_missing)
    _, scorer, made_with = open_scorer(checkpoint, device, crops, seed)
    if out is not None:
        make_folder(out)
    kept = KeptScores(out and out / "scores.csv", {**made_with, "baselines": baselines.VERSION})
    scored = score_rated(rated, scorer, pixels, seed=seed, workers=workers, progress=show_progress, kept=kept)
    found = compare(scored, rated.distortions, splits=splits, seed=seed, progress=show_progress)
    figures = {
        "dataset": rated.name,
        "root": str(rated.root.resolve()),
        "scale": rated.scale,
        "mos_range": list(rated.mos_range),
        "missing": missing,
        "pixels": pixels,
        "crops": made_with["crops"],
        "seed": seed,
        "checkpoint": str(checkpoint or "packaged"),
        "checkpoint_sha256": made_with["checkpoint_sha256"],
        **found.to_dict(),
    }
    if out is not None:
        from glint_model.evaluation.plots import scatter

        name = checkpoint.name if checkpoint else "The packaged network"
        title = f"{name} on {rated.name}: {count(len(scored))} images of {count(found.contents)} contents"
        columns = ["file_name", "group", "distortion", "level", "mos", "score", *(b.name for b in baselines.BASELINES)]
        listed = scored[columns].assign(file_name=scored["file_name"].map(guarded))
        write_atomic(out / "scores.csv", format_csv(columns, listed.itertuples(index=False)))
        write_atomic(out / "metrics.json", format_json(figures))
        write_atomic(out / "scatter.png", scatter(scored, found.pooled.metrics, title))
        kept.remove()
    if html is not None:
        from glint_label.report import write_page
        from glint_model.evaluation.report import report_evaluation

        write_page(html, report_evaluation(figures, scored, found, rated, workers, show_progress))
    if as_json:
        click.echo(to_json(figures))
    else:
        show(figures, found)
        if out is not None:
            before = f"; {count(kept.reused)} images had been scored before" if kept.reused else ""
            click.echo(f"\nscores.csv, metrics.json and scatter.png are in {out}{before}")


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
    click.echo("\nHeld against what takes no network, on the same images")
    click.echo(held_against(found))
    if found.distortions:
        click.echo("\nBy distortion")
        click.echo(by_distortion(found.distortions))
    for name, agreement in {"all images": found.pooled, **found.distortions}.items():
        if agreement.metrics.warning:
            click.echo(f"  - {name}: {agreement.metrics.warning}")


def held_against(found: "Evaluation") -> str:
    """Lay out a line for the network and for each baseline."""
    from glint_model.evaluation.baselines import TITLES

    lines = {"this network": found.pooled}
    lines |= {TITLES[name]: comparison.pooled for name, comparison in found.baselines.items()}
    last = ("plcc_fitted", "rmse_fitted")
    rows = [
        [
            title,
            number(one.metrics.srocc),
            interval(one, "srocc"),
            *(number(getattr(one.metrics, name)) for name in last),
        ]
        for title, one in lines.items()
    ]
    return table(["", "SROCC", "95 %", *(_TITLES[name] for name in last)], rows)


def by_distortion(distortions: "dict[str, MetricsAndIntervals]") -> str:
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


def interval(agreement: "MetricsAndIntervals", name: str) -> str:
    """Write an interval; `-` where there is none."""
    low, high = agreement.interval[name]
    return f"{low:.3f} .. {high:.3f}" if isfinite(low) else "-"
