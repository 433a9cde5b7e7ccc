"""Options that several commands share, and the one reader of each kind of value: lists, names in a file, YAML."""

import errno
import shlex
from collections.abc import Callable
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from glint_label.errors import InputError, UsageError
from glint_label.storage import is_stored, is_url, place_of
from glint_label.texts import read_names, read_text
from glint_label.timeouts import TIME_LIMIT

if TYPE_CHECKING:
    from glint_label.sources import Source

Command = TypeVar("Command", bound=Callable[..., Any])


class PlacePath(click.Path):
    """A path on a disk, or, where `stored` is set, in an object store too: an address that begins with s3:// or gs://.

    file:///FOLDER is another way to write a path.
    """

    def __init__(self, *, stored: bool = False, **checks: bool) -> None:
        super().__init__(path_type=Path, **checks)
        self._stored = stored

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Find the place.

        Raises:
            UsageError: It is an address, and this option takes none, or of an unknown kind.
            InputError: It leads through links that lead in a circle, which `Path.resolve` takes for a fault of ours.
        """
        place = place_of(value)
        option = param.opts[0] if isinstance(param, click.Option) else "argument"
        if is_stored(place):
            if not self._stored:
                raise UsageError(
                    f"{option} {value}: must be a path on a disk of this machine; no address is taken here"
                )
            return place
        if _leads_in_a_circle(place):
            raise InputError(f"{option} {value}: is a link that leads in a circle; remove it, or choose another path")
        return super().convert(place if is_url(str(value)) else value, param, ctx)


def _leads_in_a_circle(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError) as error:
        return isinstance(error, OSError) and error.errno == errno.ELOOP
    return False


FILE = PlacePath()
PLACE = PlacePath(stored=True)


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
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # `types: 5` in a settings file
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
        return read_names(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {path}: cannot be read ({error}); save it with one name a line") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file: names with underscores -> values.

    Raises:
        UsageError: It is not readable, or not a mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Makes plain values only, and no value twice: a few lines of aliases of aliases would fill any memory."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("names with * are not supported, write the value again")
            return super().compose_node(parent, index)

    try:
        entries = yaml.load(read_text(path), Loader) or {}  # noqa: S506 (a SafeLoader)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--config {path}: not readable YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, dict):
        raise UsageError(f"--config {path}: must hold lines like `seed: 1`")
    return {str(key).replace("-", "_"): value for key, value in entries.items()}


def _use_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Use a settings file's entries as the defaults of this command's options: flags win.

    Raises:
        UsageError: The file is not a mapping of this command's options, or an entry does not fit its option.
    """
    if value is None:
        return None
    settings = read_yaml(value)
    known = {str(parameter.name) for parameter in ctx.command.params} - {"config"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(f"--config {value}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    ctx.default_map = {**(ctx.default_map or {}), **fit_options(ctx.command, settings, value)}
    return value


def fit_options(command: click.Command, settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the entries of a settings file that are options of a command, and read its lists of names.

    Click would take 1.5 for 1, true for 1 and any number for a text.

    Raises:
        UsageError: An entry is not of its option's kind.
    """
    fitted = dict(settings)
    for parameter in command.params:
        name = str(parameter.name)
        value = settings.get(name)
        if value is None:
            continue
        values = value if isinstance(value, list) and _takes_list(parameter) else [value]
        if parameter.nargs > 1 and len(values) != parameter.nargs:
            raise UsageError(f"--config {path}: {name} is {value!r}; it must be a list of {parameter.nargs}")
        if _takes_list(parameter):
            fitted[name] = values
        for position, entry in enumerate(values):
            kind = parameter.type.types[position] if isinstance(parameter.type, click.Tuple) else parameter.type
            if wrong := _misfit(entry, kind, flag=getattr(parameter, "is_flag", False)):
                raise UsageError(f"--config {path}: {name} is {entry!r}; it must be {wrong}")
        if isinstance(parameter.type, PlacePath):
            places = [parameter.type.convert(entry, parameter, click.get_current_context()) for entry in values]
            fitted[name] = places if _takes_list(parameter) else places[0]
        if isinstance(parameter.type, NameList):
            fitted[name] = parameter.type.convert(value, parameter, None)
    return fitted


def _takes_list(parameter: click.Parameter) -> bool:
    return parameter.multiple or parameter.nargs != 1


def _misfit(
    value: Any,
    kind: click.ParamType,  # type: ignore[type-arg] # generic in the newest click only
    flag: bool,
) -> str:
    """Say what a YAML value should be; nothing where it fits."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if flag:
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(kind, NameList):
        names = value if isinstance(value, list) else [value]
        fits = all(isinstance(name, str | int) and not isinstance(name, bool) for name in names)
        return "" if fits else "a list of names; write others than plain ones in quotes"
    if isinstance(value, list | dict):
        return "a single value"
    if isinstance(kind, click.types.IntParamType):
        whole = number and isfinite(value) and value == int(value)
        return "" if whole or _reads_as(int, value) else "a whole number"
    if isinstance(kind, click.types.FloatParamType):
        return "" if (number and isfinite(value)) or _reads_as(float, value) else "a number"
    return "" if isinstance(value, str) else f"a text; if that is meant, write it in quotes: '{value}'"


def _reads_as(kind: Callable[[str], float], value: Any) -> bool:
    """Tell whether a text is a number all the same, as YAML's `1e-4` is."""
    try:
        return isinstance(value, str) and isfinite(kind(value))
    except ValueError:
        return False


def config_option(command: Command) -> Command:
    """Add --config."""
    option = click.option(
        "--config",
        type=PlacePath(exists=True, dir_okay=False),
        callback=_use_config,
        is_eager=True,
        expose_value=False,
        help="YAML file with these options; flags override it.",
    )
    return option(command)


def _count_workers(_: click.Context, __: click.Parameter, value: int | None) -> int:
    from glint_label.engines import available_cores

    return available_cores() if value is None else value


folder_argument = click.argument("folder", metavar="DIR", type=PLACE)
refs_option = click.option("--refs", type=PLACE, help="Folder of the references, if they have moved.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    callback=_count_workers,
    help="Worker processes.  [default: one per core]",
)


def engine_options(command: Command) -> Command:
    """Add --workers, --engine and --ray-address, and run the command on the engine that was asked for."""

    @wraps(command)
    def on_engine(*args: Any, engine: str, ray_address: str | None, **options: Any) -> Any:
        if engine == "local":
            if ray_address is not None:
                raise UsageError(f"--ray-address {ray_address}: needs --engine ray")
            return command(*args, **options)
        from glint_label.engines import on_ray

        given = click.get_current_context().get_parameter_source("workers")
        workers = None if given is ParameterSource.DEFAULT else options["workers"]
        with on_ray(ray_address, workers):
            return command(*args, **options)

    on_engine = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray cluster, HOST:PORT or auto for the one of this machine.  [default: start one here]",
    )(on_engine)
    on_engine = click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="Where workers run: on this machine, or on a Ray cluster with one worker per core.",
    )(on_engine)
    return cast(Command, workers_option(on_engine))


photo_timeout_option = click.option(
    "--photo-timeout",
    type=float,
    default=TIME_LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="Give a photo up if it takes longer, twice; larger ones than 512x384 may take longer.",
)
higher_is_worse_option = click.option(
    "--higher-is-worse", is_flag=True, help="Turn the scores of your own ratings: DMOS, say."
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


def selection_options(command: Command) -> Command:
    """Add the filters that choose rows of a build: --types, --levels, --split, --reference, --min-mos, --max-mos."""
    for option in reversed(
        (
            types_option,
            click.option(
                "--levels", multiple=True, type=click.IntRange(1, 5), help="Only this level; may be repeated."
            ),
            click.option("--split", multiple=True, type=click.Choice(["train", "val"]), help="Only this split."),
            click.option("--reference", multiple=True, metavar="NAME", help="Only this reference; may be repeated."),
            click.option("--min-mos", type=float, metavar="X", help="Only labels of at least X."),
            click.option("--max-mos", type=float, metavar="X", help="Only labels of at most X."),
        )
    ):
        command = option(command)
    return command


def command_line(*parts: object) -> str:
    """Write a command of ours so that it can be pasted into a shell."""
    return shlex.join(["glint-label", *map(str, parts)])


def warn_of_rising_scores(source: "Source", higher_is_worse: bool) -> None:
    """Say on stderr where a custom source's scores seem to point the wrong way."""
    from glint_label.transfer.levels import rising_distortions

    if source.name != "custom" or not (names := rising_distortions(source)):
        return
    turned = "with --higher-is-worse " if higher_is_worse else ""
    remedy = "leave --higher-is-worse out" if higher_is_worse else "add --higher-is-worse"
    click.echo(
        f"Warning: {source.label_file}: {turned}stronger distortion gets better scores ({', '.join(names)}); "
        f"if higher scores are {'better' if higher_is_worse else 'worse'} there, {remedy}",
        err=True,
    )
