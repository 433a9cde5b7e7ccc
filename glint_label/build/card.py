"""The dataset card: README.md of a build, with the header that dataset hubs read."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from glint_label.sources import Source

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(
    settings: dict[str, Any],
    source: Source,
    left_out: Sequence[str],
    counts: dict[str, int],
    audit: dict[str, Any] | None,
) -> str:
    """Write the card from settings, source, counts and audit.json; the same build gives the same bytes."""
    environment = Environment(  # Markdown for people and hubs, never rendered as HTML here
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(files("glint_label.build").joinpath("card.md.j2").read_text(encoding="utf-8"))
    size = next((name for limit, name in _SIZES if counts["rows"] < limit), "1M<n<10M")
    return template.render(settings=settings, source=source, left_out=left_out, counts=counts, size=size, audit=audit)
