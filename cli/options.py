"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from glint_label.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


def read_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Use a YAML file's entries as the defaults of this command's options: flags win.

    Raises:
        UsageError: The file is not a mapping of this command's options.
    """
    if value is None:
        return None
    try:
        entries = yaml.safe_load(value.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {value}: not readable YAML ({' '.join(str(error).split())})") from error
    known = {parameter.name for parameter in ctx.command.params} - {"config"}
    if not isinstance(entries, dict):
        raise UsageError(f"--config {value}: wants lines like `k: 10`")
    settings = {str(key).replace("-", "_"): entry for key, entry in entries.items()}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(f"--config {value}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    ctx.default_map = {**(ctx.default_map or {}), **settings}
    return value


def config_option(command: Command) -> Command:
    """Add --config."""
    option = click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=read_config,
        is_eager=True,
        expose_value=False,
        help="YAML file of these options; flags win over it.",
    )
    return option(command)


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def parse_distortions(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read names or numbers, separated by commas.

    Raises:
        UsageError: One of them is no distortion.
    """
    if not value:
        return ()
    from glint_label.distortions import DISTORTIONS

    names = {str(distortion.number): name for name, distortion in DISTORTIONS.items()}
    chosen = [names.get(part.strip(), part.strip()) for part in value.split(",")]
    unknown = [name for name in chosen if name not in DISTORTIONS]
    if unknown:
        raise UsageError(f"--types: unknown distortion {unknown[0]!r}; known are {', '.join(DISTORTIONS)}")
    return tuple(chosen)


types_option = click.option(
    "--types", metavar="LIST", callback=parse_distortions, help="Only these distortions: names or numbers, commas."
)
