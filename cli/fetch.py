"""`glint-label fetch`."""

from pathlib import Path

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import FILE, command_line
from glint_cli.progress import show_progress
from glint_label.errors import UsageError

WHAT = ("kadid10k", "tid2013", "clip")
_BUILD = ("build", "--refs", "YOUR_PHOTOS", "--source", "kadid10k")


@click.command()
@click.argument("what", type=click.Choice(WHAT))
@click.option("--to", metavar="DIR", type=FILE, help="Folder to put it into.  [default: where build looks]")
@click.option(
    "--from",
    "origin",
    metavar="URL|FILE",
    help="Take the dataset's archive from a mirror or from a file; its size and checksum are not compared.",
)
def fetch(what: str, to: Path | None, origin: str | None) -> None:
    """Download a rated dataset, or the weights of CLIP.

    The datasets come from their authors: kadid10k 3.1 GB, tid2013 0.9 GB, and
    as much again while they are unpacked. A download that broke off goes on
    where it was when the same command is given again.
    """
    if_interrupted(goes_on())
    if what == "clip":
        if origin is not None:
            raise UsageError("fetch clip takes no --from: build takes a file of yours with --clip-weights")
        _fetch_clip(to)
    else:
        _fetch_source(what, to, origin)


def _fetch_clip(to: Path | None) -> None:
    from glint_label.fetch import fetch_clip

    path = fetch_clip(to)
    click.echo(f"CLIP's weights are in {path}")
    click.echo(f"Next: {command_line(*_BUILD, *(('--clip-weights', path) if to else ()))}")


def _fetch_source(name: str, to: Path | None, origin: str | None) -> None:
    from glint_label.fetch import fetch_source
    from glint_label.sources import source_places

    source, was_there = fetch_source(name, to, origin=origin, progress=show_progress)
    already = ", as before; nothing was downloaded" if was_there else ""
    counts = f"{len(source.anchors)} anchors, {len(source.ratings)} ratings"
    click.echo(f"{name} is complete in {source.root} ({counts}){already}")
    click.echo(f"Terms: {source.licence} ({source.citation})")
    looked_at = next((place.resolve() for place in source_places(name) if place.is_dir()), None)
    found = looked_at is not None and source.root.is_relative_to(looked_at)
    first = _BUILD if name == "kadid10k" else ("audit", "--source", name)
    click.echo(f"Next: {command_line(*first, *(() if found else ('--source-dir', source.root)))}")
