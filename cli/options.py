"""Options that several commands share, and the one reader of each kind of value: lists, names in a file, YAML."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from glint_label.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)


class NameList(click.ParamType):  # type: ignore[type-arg] # generic in the newest click only
    """Names separated by commas, or, where `from_file` is set, in a file with one name a line.

    In a settings file a YAML list serves as well. A list that names nothing is an error: it would guard nothing.
    """

    name = "list"

    def __init__(self, *, from_file: bool = False) -> None:
        self._from_file = from_file

    def convert(self, value: Any, param: click.Parameter | None, _: click.Context | None) -> tuple[str, ...]:
        """Read the names, in their order, each once."""
        option = param.opts[0] if param else "list"
        if isinstance(value, tuple):
            return value
        if isinstance(value, list):
            names, place = [str(name) for name in value], "the list"
        elif not isinstance(value, str):
            raise UsageError(f"{option} {value!r}: must be names separated by commas, or a list of them")
        elif self._from_file and _is_file(value):
            names, place = _read_lines(Path(value), option), value
        else:
            names, place = value.split(","), repr(value)
        found = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        if not found:
            raise UsageError(f"{option}: {place} names nothing; leave the option out to do without it")
        return found


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a long list is no possible file name
        return False


def _read_lines(path: Path, option: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option} {path}: not UTF-8 text ({error}); save it with one name a line") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file: names with underscores -> values.

    Raises:
        UsageError: It is not readable, or not a mapping.
    """
    import yaml

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, dict):
        raise UsageError(f"--config {path}: must hold lines like `seed: 1`")
    return {str(key).replace("-", "_"): value for key, value in entries.items()}


def _use_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Use a settings file's entries as the defaults of this command's options: flags win.

    Raises:
        UsageError: The file is not a mapping of this command's options.
    """
    if value is None:
        return None
    settings = read_yaml(value)
    known = {str(parameter.name) for parameter in ctx.command.params} - {"config"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(f"--config {value}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    lists = {str(parameter.name) for parameter in ctx.command.params if _takes_lists(parameter)}
    wrong = sorted(name for name, entry in settings.items() if isinstance(entry, list | dict) and name not in lists)
    if wrong:
        raise UsageError(f"--config {value}: {wrong[0]} is {settings[wrong[0]]!r}; it must be a single value")
    ctx.default_map = {**(ctx.default_map or {}), **settings}
    return value


def _takes_lists(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, NameList | click.Tuple) or parameter.multiple or parameter.nargs != 1


def config_option(command: Command) -> Command:
    """Add --config."""
    option = click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=_use_config,
        is_eager=True,
        expose_value=False,
        help="YAML file with these options; flags override it.",
    )
    return option(command)


def _count_workers(_: click.Context, __: click.Parameter, value: int | None) -> int:
    from glint_label.engines import available_cores

    return available_cores() if value is None else value


folder_argument = click.argument("folder", metavar="DIR", type=FILE)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    callback=_count_workers,
    help="Worker processes.  [default: one per core]",
)
device_option = click.option(
    "--device", default="auto", metavar="NAME", help="Torch device; auto uses a GPU if there is one."
)
strict_option = click.option(
    "--strict", is_flag=True, help="Stop, rather than warn, if the image codecs differ from the build's."
)


def anchors_option(help_text: str) -> Callable[[Command], Command]:
    """Add --exclude-anchors."""
    return click.option("--exclude-anchors", metavar="LIST|FILE", type=NameList(from_file=True), help=help_text)


def parse_distortions(_: click.Context, __: click.Parameter, value: tuple[str, ...] | None) -> tuple[str, ...]:
    """Turn names or numbers into names of distortions.

    Raises:
        UsageError: One of them is not a distortion.
    """
    if not value:
        return ()
    from glint_label.sources.kadid10k import NUMBERS

    names = {str(number): name for name, number in NUMBERS.items()}
    chosen = [names.get(part, part) for part in value]
    unknown = [name for name in chosen if name not in NUMBERS]
    if unknown:
        raise UsageError(f"--types: unknown distortion {unknown[0]!r}; known are {', '.join(NUMBERS)}")
    return tuple(chosen)


types_option = click.option(
    "--types",
    metavar="LIST",
    type=NameList(),
    callback=parse_distortions,
    help="Only these distortions: names or numbers, comma-separated.",
)


def command_line(*parts: object) -> str:
    """Write a command of ours so that it can be pasted into a shell."""
    return shlex.join(["glint-label", *map(str, parts)])
