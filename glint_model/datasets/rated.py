"""What every dataset to evaluate on becomes: a table of images with opinions, higher is better."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from glint_label.errors import InputError, SourceError, UsageError
from glint_label.files import absent_files
from glint_label.names import is_too_long
from glint_label.sources import Source
from glint_label.sources.folder import DatasetFolder

COLUMNS = ("file_name", "mos", "group", "distortion", "level")
TURNED = "turned round, as higher is worse there (--higher-is-worse)"  # for `RatedImages.scale`


@dataclass(frozen=True)
class RatedImages:
    """Images and what people think of them.

    Attributes:
        name: As given to `--dataset`.
        root: Folder that the file names start from.
        images: One row an image. `file_name`; `mos`, higher is better whatever the dataset's own scale; `group`, the
            content, which is the image itself where no two images share one; `distortion`, empty, and `level`, 0,
            where there is none.
        mos_range: Lowest and highest opinion that the scale is made for, after the conversion.
        scale: How `mos` comes from the dataset's own numbers, and which way they point.
        distortions: Names, in the dataset's own order.
        source: Where the pixels can be made from anchors; None elsewhere.
        unavailable: Rows like those of `images`, of images that are not there and lack the anchor to make them from.
    """

    name: str
    root: Path
    images: pd.DataFrame
    mos_range: tuple[float, float]
    scale: str
    distortions: tuple[str, ...] = ()
    source: Source | None = None
    unavailable: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))

    @property
    def left_out(self) -> int:
        """Number of images that are neither there nor can be made."""
        return len(self.unavailable)

    def select(self, groups: Collection[str] = (), distortions: Collection[str] = ()) -> "RatedImages":
        """Keep some contents and some distortions; an empty filter lets everything through.

        Args:
            groups: Contents.
            distortions: Names, or numbers in the dataset's own order from 1.

        Raises:
            UsageError: One of them is not in this dataset.
        """
        if unknown := sorted(set(groups) - set(self.images["group"])):
            raise UsageError(f"{self.name}: no images of {unknown[0]!r}; {_some(self.images['group'])}")
        numbers = {str(number): name for number, name in enumerate(self.distortions, start=1)}
        names = {numbers.get(name, name) for name in distortions}
        if unknown := sorted(names - set(self.distortions)):
            known = ", ".join(self.distortions) or "none: its images have no named distortion"
            raise UsageError(f"{self.name}: no distortion {unknown[0]!r}; known are {known}")

        def chosen(rows: pd.DataFrame) -> pd.DataFrame:
            if groups:
                rows = rows[rows["group"].isin(groups)]
            if names:
                rows = rows[rows["distortion"].isin(names)]
            return rows.reset_index(drop=True)

        return replace(self, images=chosen(self.images), unavailable=chosen(self.unavailable))

    def missing(self) -> list[str]:
        """List the image files that are not there."""
        return names_missing(self.root, self.images["file_name"])

    def without(self, file_names: Iterable[str]) -> "RatedImages":
        """Leave images out.

        Raises:
            InputError: None is left.
        """
        kept = self.images[~self.images["file_name"].isin(set(file_names))].reset_index(drop=True)
        if kept.empty:
            first = self.root / self.images["file_name"].iloc[0]
            raise InputError(f"{self.name}: none of its {len(self.images):,} images is there, first {first}")
        return replace(self, images=kept)


def rated_images(
    table: pd.DataFrame, label_file: Path, mos_range: tuple[float, float], folder: DatasetFolder, slack: float = 0
) -> pd.DataFrame:
    """Check a table of opinions and bring it into the form of `RatedImages.images`.

    Args:
        table: Columns file_name and mos; group, distortion and level where known. The index holds line numbers.
        label_file: Named in errors.
        mos_range: Lowest and highest opinion.
        folder: Folder of the images; file names come out spelled as they are there.
        slack: How far beyond the range an opinion may lie.

    Raises:
        SourceError: A gap, a double, a score out of range, or a name that leads out of the dataset.
    """
    if table.empty:
        raise SourceError(f"{label_file}: holds no ratings")
    names, mos = table["file_name"], table["mos"]
    low, high = mos_range[0] - slack, mos_range[1] + slack
    checks = (
        ((names == "") | names.str.endswith("/"), "names no image"),
        (names.map(_leads_out), "names an image outside the dataset"),
        (names.map(lambda name: is_too_long(PurePosixPath(name))), "has a name longer than any file's"),
        (mos.isna(), "has no score"),
        ((mos < low) | (mos > high), f"has a score outside {low:g} .. {high:g} (higher is better)"),
        (names.duplicated(), "rates the same image a second time"),
    )
    for wrong, what in checks:
        if wrong.any():
            line = table.index[wrong][0]
            count = int(wrong.sum())
            raise SourceError(f"{label_file}, line {line}: {what} ({names[line]}; {count} such rows); repair the file")
    group = table["group"] if "group" in table else pd.Series("", index=table.index)
    spelled = names.map(folder.find)
    # Of two names that differ in case alone, one file can be but one.
    spelled = spelled.where(~spelled.duplicated(keep=False), names)
    return pd.DataFrame(
        {
            "file_name": spelled,
            "mos": mos.astype(np.float64),
            "group": group.where(group != "", names),
            "distortion": table.get("distortion", ""),
            "level": table["level"].astype(int) if "level" in table else 0,
        }
    ).reset_index(drop=True)


def names_missing(root: Path, names: Iterable[str]) -> list[str]:
    """List the names below a folder that are no files."""
    paths = [(name, root / name) for name in names]
    absent = set(absent_files(root, [path for _, path in paths]))
    return [name for name, path in paths if path in absent]


def check_count(table: pd.DataFrame, label_file: Path, expected: int) -> None:
    """Refuse a label file that is not whole.

    Raises:
        SourceError: With both counts.
    """
    if len(table) != expected:
        raise SourceError(
            f"{label_file}: rates {len(table):,} images, the complete file {expected:,}; download it again, or pass "
            "a table of your own as --dataset FILE.csv"
        )


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name


def _some(groups: "pd.Series[str]") -> str:
    names = sorted(set(groups))
    return f"its contents are {', '.join(names[:3])}{', ...' if len(names) > 3 else ''} ({len(names):,})"
