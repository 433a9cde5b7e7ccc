"""`glint-label render`."""

from pathlib import Path

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import (
    config_option,
    folder_argument,
    refs_option,
    selection_options,
    strict_option,
    workers_option,
)
from glint_cli.progress import show_progress
from glint_cli.text import count, size
from glint_label.errors import InputError


@click.command()
@folder_argument
@refs_option
@selection_options
@workers_option
@strict_option
@config_option
def render(
    folder: Path,
    refs: Path | None,
    types: tuple[str, ...],
    levels: tuple[int, ...],
    split: tuple[str, ...],
    reference: tuple[str, ...],
    min_mos: float | None,
    max_mos: float | None,
    workers: int,
    strict: bool,
) -> None:
    """Write the distorted images of the build in DIR, or of a part of it.

    Images go beside the metadata.csv that lists them. Existing ones are kept,
    so if it is stopped, run the same command again to continue. If a photo is
    missing or has changed, the others are rendered and the exit code is 3.
    """
    if_interrupted(goes_on())
    from glint_label.manifest import Selection
    from glint_label.render import render_build

    selection = Selection(types, levels, split, reference, min_mos, max_mos)
    made = render_build(folder, refs, selection, strict=strict, workers=workers, progress=show_progress)
    click.echo(f"{count(made.written)} images written ({size(made.bytes)}), {count(made.present)} already there")
    for name, message in made.failures:
        click.echo(f"not rendered: {name}: {message}", err=True)
    if made.failures:
        name, message = made.failures[0]
        raise InputError(f"{count(len(made.failures))} references could not be rendered, first {name}: {message}")
