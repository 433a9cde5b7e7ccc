"""`glint-label inspect`."""

from pathlib import Path
from typing import Any

import click

from glint_cli.interrupt import STARTS_OVER, if_interrupted
from glint_cli.options import PLACE, engine_options, folder_argument, json_option
from glint_cli.progress import show_progress
from glint_cli.text import bar, count, many, size, table, to_json
from glint_label.errors import InputError, StateError
from glint_label.folders import RUN, kind_of

_SHOWN = 5


@click.command()
@folder_argument
@click.option("--html", type=PLACE, help="Write a visual report to this file instead; DIR may be a training run too.")
@click.option("--refs", type=PLACE, help="Folder of the photos for --html, if they have moved.")
@engine_options
@json_option
def inspect(folder: Path, html: Path | None, refs: Path | None, workers: int, as_json: bool) -> None:
    """Summarise the build in DIR, and check its files.

    Exit code 3 if anything is missing or has changed since it was built.
    """
    if_interrupted(STARTS_OVER)
    if kind_of(folder) == RUN:
        _report_run(folder, html, workers)
        return
    if html is None:
        from glint_label.manifest.inspect import summarise

        figures = summarise(folder, workers)
    else:
        figures = _write_report(folder, html, refs, workers)
    if as_json:
        click.echo(to_json(figures))
    elif html is None:
        show(figures)
    else:
        _tell(html, folder)
    if figures["problems"]:
        raise StateError(f"{folder}: {len(figures['problems'])} problems, first: {figures['problems'][0]}")


def _report_run(folder: Path, html: Path | None, workers: int) -> None:
    """Write the report of a training run."""
    if html is None:
        raise InputError(f"{folder}: is a training run; add --html FILE for its report")
    from glint_label.report import check_target, write_page
    from glint_model.training.report import report_run

    check_target(html)
    write_page(html, report_run(folder, workers, show_progress))
    _tell(html, folder)


def _write_report(folder: Path, html: Path, refs: Path | None, workers: int) -> dict[str, Any]:
    """Write the report of a build, and return its figures."""
    from glint_label.manifest.inspect import inspect_build
    from glint_label.report import check_target, report_build, write_page

    check_target(html)
    if refs is not None and not refs.is_dir():
        raise InputError(f"{refs}: no such folder; pass the folder of the photos with --refs")
    found = inspect_build(folder, workers, show_progress)
    write_page(html, report_build(folder, found, refs, workers, show_progress))
    return found.figures


def _tell(html: Path, folder: Path) -> None:
    click.echo(f"{html}: the report of {folder} ({size(html.stat().st_size)}); open it in a browser")


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    click.echo(f"{figures['out']}: {figures['status']}")
    click.echo()
    for name, value in _overview(figures):
        click.echo(f"  {name:<13} {value}")
    if figures["distortions"]:
        click.echo(f"\nMean label per level, {_range(figures)}; spread: deviation over photos;")
        click.echo("+-: standard error of one label")
        click.echo(_distortions(figures))
        labels = figures["labels"]
        click.echo(
            f"\nLabels: mean {labels['mean']:.2f}, standard deviation {labels['std']:.2f}, "
            f"mean standard error {labels['mos_error']:.2f}"
        )
        click.echo(_histogram(labels))
    if figures["similarity_quartiles"]:
        click.echo("\nSimilarity to the nearest anchor")
        names = ("least", "quarter", "median", "three quarters", "most")
        click.echo(
            "  " + ", ".join(f"{n} {v:.3f}" for n, v in zip(names, figures["similarity_quartiles"], strict=True))
        )
        click.echo(_histogram(figures["similarity"]))
        _support(figures)
    if figures["hubs"]:
        _hubs(figures)
    of = figures["near_duplicate_counts"]
    title = (
        f"Near-duplicates: {of['references']} of other photos, {of['anchors']} of anchors, {of['excluded']} excluded"
    )
    _list(title, [f"{row['reference']} of {row['of']}" for row in figures["near_duplicates"]])
    _list("Not labelled: no anchor is similar enough", figures["abstained"])
    failures = [f"{row['reference']}: {row['reason']}, {row['message']}" for row in figures["failures"]]
    _list("Failures", failures)
    if figures["problems"]:
        _list("PROBLEMS", figures["problems"])
    else:
        click.echo(f"\nIntegrity: {many(figures['shards'], 'shard')} complete and unchanged")


def _range(figures: dict[str, Any]) -> str:
    low, high = figures["mos_range"]
    return f"from {low:g} (worst) to {high:g} (best)"


def _overview(figures: dict[str, Any]) -> list[tuple[str, str]]:
    excluded = f"{count(len(figures['excluded']))} excluded, " if figures["excluded"] else ""
    labelled = figures["references"] - len(figures["abstained"]) - len(figures["excluded"])
    splits = ", ".join(f"{count(number)} {name}" for name, number in figures["splits"].items())
    missing = f", without {', '.join(figures['missing_anchors'])}" if figures["missing_anchors"] else ""
    pixels = f"{count(figures['pixel_files'])} files" if figures["pixel_files"] else "none yet: `glint-label render`"
    rows = [
        ("rows", f"{count(figures['rows'])} ({splits})"),
        (
            "references",
            f"{count(labelled)} labelled, {count(len(figures['abstained']))} abstained, {excluded}"
            f"{count(len(figures['failures']))} failed",
        ),
        ("source", f"{figures['source']}, {figures['anchors']} anchors{missing}"),
        ("labels by", f"{figures['embedder']} embedding, {figures['transfer']} transfer"),
        ("pixels", pixels),
        ("size", _size(figures)),
    ]
    mine, blind = (figures["audit"].get(name) for name in (figures["transfer"], "cell-mean"))
    if mine and blind and None not in (mine["srocc"], blind["srocc"]):
        rows.append(
            (
                "audit",
                f"SROCC {mine['srocc']:.3f}, RMSE {mine['rmse']:.3f} "
                f"(condition means {blind['srocc']:.3f}, {blind['rmse']:.3f})",
            )
        )
    if figures["ratings_note"]:
        rows.append(("NOTE", figures["ratings_note"]))
    return rows


def _size(figures: dict[str, Any]) -> str:
    if figures["size"] == "native":
        return "native: that of each file, which the raters may not have seen"
    wide, tall = figures["size"]
    kept = f"; {many(figures['smaller'], 'smaller photo')} not enlarged" if figures["smaller"] else ""
    return f"{wide} x {tall}{kept}"


def _distortions(figures: dict[str, Any]) -> str:
    levels = sorted({level for row in figures["distortions"] for level in row["mos_by_level"]})
    header = ["distortion", *(f"L{level}" for level in levels), "spread", "+-", "rows"]
    rows = [
        [
            f"{row['type']:>2} {row['name']}",
            *(f"{row['mos_by_level'][level]:.2f}" if level in row["mos_by_level"] else "" for level in levels),
            f"{row['spread']:.2f}",
            f"{row['mos_error']:.2f}",
            count(row["rows"]),
        ]
        for row in figures["distortions"]
    ]
    return table(header, rows)


def _histogram(labels: dict[str, list[float]]) -> str:
    counts = labels["counts"]
    most = max(counts) or 1
    lines = []
    for low, high, number in zip(labels["edges"][:-1], labels["edges"][1:], counts, strict=True):
        lines.append(f"  {low:5.2f} .. {high:5.2f}  {bar(number / most, 40):<40} {count(int(number)):>9}")
    return "\n".join(lines)


def _support(figures: dict[str, Any]) -> None:
    """Print the photos that no anchor resembles."""
    if figures["supported_from"] is not None:
        click.echo(
            f"  {many(figures['unsupported'], 'photo')} less similar to every anchor than 95 % of the anchors are to"
        )
        click.echo(f"  their nearest one ({figures['supported_from']:.3f}). The least similar:")
    for row in figures["least_supported"]:
        click.echo(f"  {row['similarity']:6.3f}  {row['reference']} (nearest: {row['anchor']})")


def _hubs(figures: dict[str, Any]) -> None:
    """Print how the photos spread over the anchors."""
    click.echo(
        f"\nNearest anchors: {figures['anchors_used']} of {figures['anchors']} anchors used "
        f"(effective number {figures['effective_anchors']:.1f})"
    )
    for hub in figures["hubs"]:
        click.echo(f"  {count(hub['references']):>9}  {hub['share']:6.1%}  {hub['anchor']}")


def _list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    click.echo(f"\n{title} ({count(len(lines))})")
    for line in lines[:_SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > _SHOWN:
        click.echo(f"  ... and {count(len(lines) - _SHOWN)} more (--json lists all)")
