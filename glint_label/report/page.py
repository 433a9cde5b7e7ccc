"""The file itself: a template, one style, one script, pictures, and a policy that forbids everything else."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import glint_label
from glint_label.errors import OutputError
from glint_label.files import make_folder, write_atomic
from glint_label.report.sprites import Sheet, data_url

MOST_BYTES = 3_000_000
_HERE = Path(__file__).parent
_PICTURES = "@pictures go here@"


@dataclass(frozen=True)
class Picture:
    """A picture at full size.

    Attributes:
        key: The `data-picture` of what opens it.
        content: A WebP file.
    """

    key: str
    content: bytes


def check_target(file: Path, option: str = "--html") -> None:
    """Refuse a file that cannot be written before the work begins; its folder is made if need be.

    Raises:
        OutputError: It is a folder, or its folder cannot be made.
    """
    if file.is_dir():
        raise OutputError(f"{file}: is a folder; give {option} the name of a file in it")
    make_folder(file.parent, option)


def write_page(file: Path, html: str) -> None:
    """Write a report; a file that exists is whole.

    Raises:
        OutputError: The disk is full or the folder cannot be written.
    """
    write_atomic(file, html, "--html")


def render_page(
    template: str,
    context: Mapping[str, Any],
    *,
    templates: Path = _HERE,
    sheets: Iterable[Sheet | None] = (),
    pictures: Sequence[Picture] = (),
    data: Mapping[str, Any] | None = None,
) -> str:
    """Make a report.

    Args:
        template: Its name; it extends page.html.j2.
        context: What the template shows.
        templates: The folder that it lies in.
        sheets: Small pictures.
        pictures: Full ones, the most telling first; those that do not fit into MOST_BYTES are left out.
        data: What the script counts with, as values for JSON.
    """
    loader = ChoiceLoader([FileSystemLoader(templates), FileSystemLoader(_HERE)])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": count, "fixed": fixed, "percent": percent}
    style, script = (_read(name) for name in ("page.css", "page.js"))
    html = environment.get_template(template).render(
        **context,
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704
        sheets=[sheet for sheet in sheets if sheet is not None],
        data=Markup(_json(data or {})),  # noqa: S704
        pictures=_PICTURES,
        version=glint_label.__version__,
    )
    room = MOST_BYTES - len(html.encode())
    kept = {}
    for picture in pictures:
        url = data_url(picture.content)
        room -= len(url) + len(picture.key) + 8
        if room < 0:
            break
        kept[picture.key] = url
    return html.replace(_PICTURES, _json(kept))


def _policy(style: str, script: str) -> str:
    """Allow this style, this script and pictures inside the file; nothing is ever asked for from anywhere."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Write JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026").replace(">", "\\u003e")


def count(number: int) -> str:
    """Write 12345 as 12,345."""
    return f"{number:,}"


def fixed(value: float | None, digits: int = 2) -> str:
    """Write a figure with so many decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share of 0..1 as a percentage; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"
