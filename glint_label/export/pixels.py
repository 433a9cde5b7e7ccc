"""The images of a part: those that lie in the build already, the others made from their recipes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Any

from glint_label.errors import ImageError
from glint_label.export.format import NONE, Part, Sample
from glint_label.images import Size, encode_image, read_photo
from glint_label.manifest import pixel_path, reference_path, shard_folder
from glint_label.names import as_text
from glint_label.render import Drawing


@dataclass(frozen=True)
class Pixels:
    """Where images come from.

    Attributes:
        build: The build.
        root: The references' root.
        size: What photos are brought to.
        images: `none`, or the wanted ending without its dot.
        pristine: Whether the references themselves are wanted too.
    """

    build: Path
    root: Path
    size: Size
    images: str
    pristine: bool

    def lacking(self, part: Part) -> list[tuple[str, str]]:
        """Name the references whose images cannot be made, with the reason: looked for before the work begins.

        Raises:
            InputError: A reference's name leads out of the root.
            StateError: A pixel file's name leads out of its shard.
        """
        if self.images == NONE:
            return []
        failures = []
        for facts, rows in self._references(part):
            if not self.pristine and all(self._made(row).is_file() for row in rows):
                continue
            path = reference_path(self.root, facts["reference"])
            try:
                read_photo(path, facts["sha256"], self.size)
            except ImageError as error:
                failures.append((facts["reference"], str(error).removeprefix(f"{as_text(path)}: ")))
        return failures

    def draw(self, photo: Part) -> list[tuple[str, str]]:
        """Make the images of one reference and keep none, to see whether it can be done; give what `lacking` gives."""
        reference = photo.references[0]["reference"]
        try:
            failures = self.lacking(photo)
            for sample in () if failures else self.samples(photo):
                if self.pristine:
                    sample.pristine()
        except ImageError as error:
            path = reference_path(self.root, reference)
            return [(reference, str(error).removeprefix(f"{as_text(path)}: "))]
        return failures

    def samples(self, part: Part) -> Iterator[Sample]:
        """Give the images of a part with their labels, in the order of its rows."""
        for position, (facts, rows) in enumerate(self._references(part), start=part.first):
            suffix = f".{self.images}"
            photo = Drawing(reference_path(self.root, facts["reference"]), facts["sha256"], self.size)
            pristine = partial(_encode_pristine, photo, suffix)
            if self.images == NONE:
                yield from (Sample(row, None, position, pristine) for row in rows)
                continue
            for row in rows:
                image = _read(self._made(row), suffix)
                if image is None:
                    drawn = photo.distorted(row["dist_name"], row["dist_level"], row["seed"])
                    image = encode_image(drawn, suffix)
                name = PurePath(row["file_name"]).with_suffix(suffix).name
                yield Sample(row | {"file_name": name}, image, position, pristine)

    def _references(self, part: Part) -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
        names = [str(name) for name in part.rows]
        # Whole columns at a time: taken row by row from a table, they cost more than all the rest.
        columns = [part.rows[name].tolist() for name in names]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        for facts, (_, of_one) in zip(part.references, groupby(rows, itemgetter("reference")), strict=True):
            yield dict(facts), list(of_one)

    def _made(self, row: dict[str, Any]) -> Path:
        return pixel_path(shard_folder(self.build, row["shard"]), row["file_name"])


def _encode_pristine(photo: Drawing, suffix: str) -> bytes:
    return encode_image(photo.pixels, suffix)


def _read(path: Path, suffix: str) -> bytes | None:
    """Read an image that has been made, as it is or in another encoding; None where there is none that can be used."""
    try:
        pixels = read_photo(path).pixels
        return path.read_bytes() if path.suffix == suffix else encode_image(pixels, suffix)
    except (ImageError, OSError):
        return None
