"""`pyiqa`: the tables that pyiqa's datasets read, and the images that they name."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import text_columns, write_tables
from glint_label.files import write_atomic
from glint_label.manifest import shard_folder

# Columns are read there by position; `split`, by its name.
_NO_REFERENCE = ("img_name", "mos", "mos_error", "split")
_FULL_REFERENCE = ("ref_name", "dist_name", "mos", "mos_error", "split")


class Pyiqa(Format):
    """meta_info_nr.csv; with pixels also meta_info_fr.csv, images/ and references/."""

    name = "pyiqa"
    title = "pyiqa's meta_info tables"
    images = (NONE, "png", "webp")
    separate = False
    pristine = True
    our_columns = False
    files = (
        r"meta_info_(nr|fr)\.csv",
        r"images/\d{5,}/[0-9a-f]{16}_\d\d_\d\.(png|webp)",
        r"references/\d{5,}/[0-9a-f]{16}\.(png|webp)",
    )

    def writes_parts(self, images: str) -> bool:
        """Only where there are images."""
        return images != NONE

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write the images of a part, and their references once."""
        written = []
        seen = -1
        for sample in samples:
            image = PurePath(sample.row["file_name"])
            if sample.position != seen:
                seen = sample.position
                path = folder / _reference(part, sample.row["reference_id"], image.suffix)
                write_atomic(path, sample.pristine())
                written.append(path)
            path = folder / _image(part, image.name)
            write_atomic(path, sample.image or b"")
            written.append(path)
        return written

    def write_tables(self, parts: Callable[[], Iterator[Part]], about: About, folder: Path) -> Sequence[Path]:
        """Write a table for metrics without a reference, and with images one for those with."""
        tables: dict[str, tuple[str, ...]] = {"meta_info_nr.csv": _NO_REFERENCE}
        if about.images != NONE:
            tables["meta_info_fr.csv"] = _FULL_REFERENCE
        paths = {folder / name: columns for name, columns in tables.items()}
        write_tables(paths, (_texts(part, about.images) for part in parts()))
        return list(paths)

    def usage(self, about: About) -> str:
        """Say what goes into a dataset's options."""
        split = next(iter(about.rows))
        where = "the build, after `glint-label render`" if about.images == NONE else "this folder"
        lines = [
            "```yaml",
            "type: GeneralNRDataset",
            f"dataroot_target: {'BUILD' if about.images == NONE else 'FOLDER'}   # {where}",
            "meta_info_file: FOLDER/meta_info_nr.csv",
            "split_index: split   # the column; no pickled split file is needed",
            f"phase: {split}",
            f"mos_range: [{about.mos_range[0]:g}, {about.mos_range[1]:g}]",
            "lower_better: false",
            "```",
        ]
        if about.images != NONE:
            lines += ["", "With references: `GeneralFRDataset`, `meta_info_fr.csv`, `dataroot_ref: FOLDER`."]
        return "\n".join(lines)


def _image(part: Part, name: str) -> str:
    return f"images/{part.number:05d}/{name}"


def _reference(part: Part, identity: str, suffix: str) -> str:
    return f"references/{part.number:05d}/{identity}{suffix}"


def _texts(part: Part, images: str) -> dict[str, Sequence[str]]:
    rows = part.rows
    texts: dict[str, Sequence[str]] = dict(text_columns(rows, ("mos", "mos_error", "split")))
    names = rows["file_name"].tolist()
    if images == NONE:
        folders = [shard_folder(Path(), number).as_posix() for number in rows["shard"].tolist()]
        texts["img_name"] = [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)]
        return texts
    suffix = f".{images}"
    texts["img_name"] = [_image(part, PurePath(name).with_suffix(suffix).name) for name in names]
    texts["dist_name"] = texts["img_name"]
    texts["ref_name"] = [_reference(part, identity, suffix) for identity in rows["reference_id"].tolist()]
    return texts
