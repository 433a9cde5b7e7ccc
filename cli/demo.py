"""`glint-label demo`."""

import os
from pathlib import Path

import click

from glint_cli.inspect import show
from glint_cli.progress import show_progress
from glint_label.summary import summarise


@click.command()
@click.option(
    "--out",
    default=Path("manifests/demo"),
    type=click.Path(path_type=Path),
    help="Folder of the demo's build.",
)
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes.  [default: one a core]")
def demo(out: Path, workers: int | None) -> None:
    """Do the whole job offline, on the photos that come with scikit-image.

    Its ratings are SSIM scores that the demo computes itself, not human ones.
    An earlier demo in the same folder is replaced.
    """
    from glint_label.demo import NOTE, run_demo

    processes = (os.cpu_count() or 1) if workers is None else workers
    made = run_demo(out, processes, show_progress)
    show(summarise(out))
    click.echo(f"\n{NOTE}\n")
    click.echo("What was made")
    click.echo(f"  {out}/shards/00000/metadata.csv   one row per image: label, its error, its recipe")
    click.echo(f"  {out}/references.csv              one row per photo: its neighbours among the anchors")
    click.echo(f"  {made.source}/ratings.csv   the demo's ratings, in the layout for your own")
    click.echo("\nWhat to type next")
    click.echo(f"  glint-label render {out} --reference coffee.png --levels 5   see the pixels")
    click.echo("  glint-label doctor                        is this machine ready for the real job?")
    click.echo("  glint-label build --refs YOUR_PHOTOS --source kadid10k --source-dir KADID10K")
