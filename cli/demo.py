"""`glint-label demo`."""

from pathlib import Path

import click

from glint_cli.inspect import show
from glint_cli.interrupt import STARTS_OVER, if_interrupted
from glint_cli.options import FILE, command_line, workers_option
from glint_cli.progress import show_progress


@click.command()
@click.option(
    "--out",
    default=Path("manifests/demo"),
    type=FILE,
    help="Folder for the demo's build.",
)
@workers_option
def demo(out: Path, workers: int) -> None:
    """Run the whole job offline, on sample photos.

    The photos come with scikit-image. The labels are of human origin: they
    come from the packaged model of KADID-10k's ratings. An earlier demo in
    the same folder is replaced; any other build is refused.
    """
    if_interrupted(STARTS_OVER)
    from glint_label.demo import run_demo
    from glint_label.manifest.inspect import summarise

    made = run_demo(out, workers, show_progress)
    show(summarise(out))
    click.echo("\nWhat was made")
    click.echo(f"  {out}/shards/00000/metadata.csv   one row per image: label, its error, its recipe")
    click.echo(f"  {out}/references.csv              one row per photo: its neighbours among the anchors")
    click.echo(f"  {out}/audit.json                  how well such labels agree with human ratings")
    click.echo("\nWhat to type next")
    click.echo(f"  {command_line('render', out, '--reference', 'coffee.png', '--levels', 5)}   see the pixels")
    train = command_line("pretrain", "--manifest", out, "--preset", "default-tiny", "--steps", 50)
    click.echo(f"  {train}   train on them")
    click.echo("  glint-label build --refs YOUR_PHOTOS --source kadid10k   your own")
    click.echo(f"The photos are in {made.photos}.")
