"""`glint-label render`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from glint_cli.interrupt import goes_on, if_interrupted
from glint_cli.options import (
    command_line,
    config_option,
    engine_options,
    folder_argument,
    photo_timeout_option,
    refs_option,
    selection_options,
    strict_option,
)
from glint_cli.progress import show_progress
from glint_cli.text import count, size
from glint_label.errors import InputError

if TYPE_CHECKING:
    from glint_label.manifest import Selection


@click.command()
@folder_argument
@refs_option
@selection_options
@engine_options
@photo_timeout_option
@strict_option
@click.option("--check", is_flag=True, help="Write nothing; render a sample of the existing images again and compare.")
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
    photo_timeout: float,
    strict: bool,
    check: bool,
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
    if check:
        _check(folder, refs, selection, workers)
        return
    made = render_build(
        folder,
        refs,
        selection,
        strict=strict,
        workers=workers,
        photo_timeout=photo_timeout,
        progress=show_progress,
    )
    speed = f", {made.written / made.seconds:.0f} a second" if made.written else ""
    click.echo(
        f"{count(made.written)} images written ({size(made.bytes)}{speed}), {count(made.present)} already there"
    )
    for name, message in made.failures:
        click.echo(f"not rendered: {name}: {message}", err=True)
    if made.failures:
        name, message = made.failures[0]
        raise InputError(f"{count(len(made.failures))} references could not be rendered, first {name}: {message}")


def _check(folder: Path, refs: Path | None, selection: "Selection", workers: int) -> None:
    from glint_label.rerender import rerender

    found = rerender(folder, refs, selection, workers=workers, progress=show_progress)
    for name, message in found.faults:
        click.echo(f"not as its recipe says: {name}: {message}", err=True)
    if found.faults:
        name, message = found.faults[0]
        raise InputError(
            f"{count(len(found.faults))} of {count(found.compared)} images are not as their recipes say, "
            f"first {name}: {message}; delete these files and run `{command_line('render', folder)}`"
        )
    click.echo(f"{count(found.compared)} of {count(found.present)} images rendered again: all the same")
