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
    return fill_card(
        "glint_label.build",
        settings=settings,
        source=source,
        left_out=left_out,
        counts=counts,
        size=size_category(counts["rows"]),
        audit=audit,
    )


def size_category(rows: int) -> str:
    """Say how large a dataset is, as hubs call it."""
    return next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")


def fill_card(package: str, **values: Any) -> str:
    """Fill in the card.md.j2 of a package: Markdown for people and hubs, never rendered as HTML here."""
    environment = Environment(
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(files(package).joinpath("card.md.j2").read_text(encoding="utf-8")).render(**values)
