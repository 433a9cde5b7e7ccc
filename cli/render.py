"""`glint-label render`."""

import os
from pathlib import Path

import click

from glint_cli.options import config_option, folder_argument, types_option
from glint_cli.progress import show_progress
from glint_cli.text import count, size
from glint_label.render import Selection, render_build


@click.command()
@folder_argument
@click.option("--refs", type=click.Path(path_type=Path), help="Folder of the references, if it has moved.")
@types_option
@click.option("--levels", multiple=True, type=click.IntRange(1, 5), help="Only this level; repeatable.")
@click.option("--split", multiple=True, type=click.Choice(["train", "val"]), help="Only this split.")
@click.option("--reference", multiple=True, metavar="NAME", help="Only this reference; repeatable.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Processes.  [default: one a core]")
@config_option
def render(
    folder: Path,
    refs: Path | None,
    types: tuple[str, ...],
    levels: tuple[int, ...],
    split: tuple[str, ...],
    reference: tuple[str, ...],
    workers: int | None,
) -> None:
    """Make the pixels of the build in DIR, or of a part of it.

    Files go beside the metadata.csv that names them. Those that exist stay,
    so a stopped run goes on when the same command is given again.
    """
    processes = (os.cpu_count() or 1) if workers is None else workers
    made = render_build(folder, refs, Selection(types, levels, split, reference), processes, show_progress)
    click.echo(f"{count(made.written)} images written ({size(made.bytes)}), {count(made.present)} were there")
