"""What every export format offers, and what it is given to write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd

NONE = "none"  # no pixels


@dataclass(frozen=True)
class Part:
    """The labels of some consecutive references: what one worker writes at a time.

    Attributes:
        split: train or val; empty where a format does not separate them.
        number: Of the part within its split: 0, 1, 2, ...
        first: Number of its first reference within its split.
        rows: Of metadata.csv, with the column `shard` added.
        references: Rows of references.csv, as text, in the order of `rows`.
    """

    split: str
    number: int
    first: int
    rows: pd.DataFrame
    references: Sequence[Mapping[str, str]]

    @property
    def name(self) -> str:
        """Its name, of which there is one."""
        return f"{self.split or 'all'}-{self.number:05d}"

    def photos(self) -> "Iterator[Part]":
        """Cut it into parts of one reference each."""
        tables = self.rows.groupby("reference", sort=False)
        for place, (facts, (_, rows)) in enumerate(zip(self.references, tables, strict=True)):
            yield replace(self, first=self.first + place, rows=rows, references=[facts])


@dataclass(frozen=True)
class Sample:
    """One image of a part.

    Attributes:
        row: Column of metadata.csv -> value; `file_name` has the ending of the image.
        image: The encoded image; None where none are wanted.
        position: Number of its reference within the split.
        pristine: Encodes the reference itself, brought to size.
    """

    row: Mapping[str, Any]
    image: bytes | None
    position: int
    pristine: Callable[[], bytes]


@dataclass(frozen=True)
class About:
    """What is exported, for the files that describe the whole.

    Attributes:
        run: run.json of the build.
        audit: Its audit.json, if any.
        images: `none`, or the ending of the images without its dot.
        rows: Split -> how many rows.
        references: How many photos have at least one of them.
        filters: The filters that are set.
        parts: How many parts each split has.
    """

    run: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    images: str
    rows: Mapping[str, int]
    references: int
    filters: Mapping[str, Any]
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.rows.values())

    @property
    def measured(self) -> Mapping[str, Any] | None:
        """The row of audit.json about labels made in this way; None where none says how good they are."""
        rows = (self.audit or {"rows": []})["rows"]
        mine = next((row for row in rows if row["transfer"] == self.run["config"]["transfer"]), None)
        return mine if mine and mine["srocc"] is not None and mine["rmse"] is not None else None

    @property
    def mos_range(self) -> tuple[float, float]:
        """Lowest and highest score of the source."""
        low, high = self.run["mos_range"]
        return float(low), float(high)


class Format(Protocol):
    """A kind of dataset that other programs read. Its files lie in one folder and are the same bytes every time.

    What most formats have in common is given here.

    Attributes:
        name: What `--to` takes.
        title: What it is, for people.
        images: What `--images` may be.
        files: Regular expressions of the paths that it writes, README.md apart.
        needs: Modules of the extra [export] that it imports.
        separate: Whether a part holds one split only.
        pristine: Whether the references themselves are written too, where there are images.
        our_columns: Whether it has the columns of metadata.csv.
        scale_note: What is to be said about the scale of its labels.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    images: ClassVar[tuple[str, ...]]
    files: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    separate: ClassVar[bool] = True
    pristine: ClassVar[bool] = False
    our_columns: ClassVar[bool] = True
    scale_note: ClassVar[str] = ""

    def writes_parts(self, images: str) -> bool:  # noqa: ARG002 (some formats look at it)
        """Tell whether there is something to write for each part."""
        return True

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write the files of one part, in a worker; return them.

        Args:
            part: Its labels.
            samples: The same, image by image.
            folder: Of the export.

        Raises:
            OutputError: The disk is full.
        """
        ...

    def write_tables(self, parts: Callable[[], Iterator[Part]], about: About, folder: Path) -> Sequence[Path]:  # noqa: ARG002
        """Write what describes all parts, when their files are there; return the files.

        Args:
            parts: Gives the labels once more, in order.
            about: The whole.
            folder: Of the export.

        Raises:
            OutputError: The disk is full.
        """
        return []

    def card_header(self, about: About) -> Mapping[str, Any]:  # noqa: ARG002 (some formats look at it)
        """Add to the header of README.md, which hubs read."""
        return {}

    def usage(self, about: About) -> str:
        """Show in a few lines of Markdown how the result is loaded."""
        ...
