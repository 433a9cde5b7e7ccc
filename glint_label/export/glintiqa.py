"""`glintiqa`: the label files, similarities and images that the released trainer of GlintIQA reads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import write_table
from glint_label.files import write_atomic
from glint_label.manifest import format_numbers
from glint_label.names import guarded

BATCH = 1_000  # references a label file, and a folder of images
HIGHEST = 9.0  # labels are 0..9 there
_LABELS = (
    "distorted_image",
    "quality_score",
    "source_image",
    "matched_reference",
    "distortion_type",
    "distortion_level",
)
_LABELS_BEFORE = ("dist_img", "label")  # of the first release
_SIMILARITIES = ("kadis", "kadid-10k", "sim_value", "reference")


class GlintIqa(Format):
    """labels/labels_batch_0001.csv, similarity.csv; with pixels also images/001/*.bmp."""

    name = "glintiqa"
    title = "label files of GlintIQA's released trainer, 0..9"
    images = (NONE, "bmp")
    separate = False
    our_columns = False
    scale_note = "; in these files 0 .. 9"
    files = (
        r"labels/labels_batch_\d{4,}\.csv",
        r"labels_first_release/dataset_\d{3,}\.csv",
        r"similarity\.csv",
        r"images/\d{3,}/[0-9a-f]{16}_\d\d_\d\d\.bmp",
    )

    def writes_parts(self, images: str) -> bool:
        """Only where there are images."""
        return images != NONE

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:  # noqa: ARG002
        """Write the images of a part."""
        written = []
        for sample in samples:
            path = folder / "images" / _image(sample.row, sample.position)
            write_atomic(path, sample.image or b"")
            written.append(path)
        return written

    def write_tables(self, parts: Callable[[], Iterator[Part]], about: About, folder: Path) -> Sequence[Path]:
        """Write the label files of both releases, and which anchor each photo resembles most."""
        low, high = about.mos_range
        written = []
        matches: list[tuple[str, str, float, str]] = []
        for number, rows in _batches(parts()):
            texts = _label_texts(rows, lambda mos: HIGHEST * (mos - low) / (high - low))
            written.append(write_table(folder / "labels" / f"labels_batch_{number:04d}.csv", _LABELS, texts))
            before = {name: texts[other] for name, other in zip(_LABELS_BEFORE, _LABELS[:2], strict=True)}
            place = folder / "labels_first_release" / f"dataset_{number:03d}.csv"
            written.append(write_table(place, _LABELS_BEFORE, before))
            of_photo = rows.drop_duplicates("reference")[["reference_id", "anchor", "similarity", "reference"]]
            matches += of_photo.itertuples(index=False, name=None)
        names = _anchor_names({anchor for _, anchor, _, _ in matches}, str(about.run["config"]["source"]))
        table: dict[str, Sequence[str]] = {
            "kadis": [_source(identity) for identity, _, _, _ in matches],
            "kadid-10k": [names[anchor] for _, anchor, _, _ in matches],
            "sim_value": format_numbers(similarity for _, _, similarity, _ in matches),
            "reference": [guarded(reference) for _, _, _, reference in matches],
        }
        return [*written, write_table(folder / "similarity.csv", _SIMILARITIES, table)]

    def usage(self, about: About) -> str:
        """Say what goes onto the trainer's command line."""
        images = "a folder with the images as .bmp" if about.images == NONE else "FOLDER/images"
        return (
            "```\ntorchrun scripts/train_distributed.py --dataset saqt-iqa \\\n"
            f"    --dataset-root {'IMAGES' if about.images == NONE else images} \\\n"
            "    --label-path FOLDER/labels --similarity-csv FOLDER/similarity.csv\n```"
            + (f"\n\nIMAGES is {images}: `--images bmp` writes them." if about.images == NONE else "")
        )


def _batches(parts: Iterator[Part]) -> Iterator[tuple[int, pd.DataFrame]]:
    """Cut the rows anew, after every thousandth photo; gives the number of the batch, from 1, and its rows."""
    held: list[pd.DataFrame] = []
    number = 1
    for part in parts:
        codes, _ = pd.factorize(part.rows["reference"])
        positions = part.first + codes
        rows = part.rows.assign(position=positions)
        for batch in range(int(positions[0]) // BATCH + 1, int(positions[-1]) // BATCH + 2):
            if batch > number and held:
                yield number, pd.concat(held)
                held = []
            number = batch
            held.append(rows[positions // BATCH + 1 == batch])
    yield number, pd.concat(held)


def _image(row: Mapping[str, Any], position: int) -> str:
    """Name an image as that trainer takes names apart: photo, type, level."""
    return f"{position // BATCH + 1:03d}/{row['reference_id']}_{row['dist_type']:02d}_{row['dist_level']:02d}.bmp"


def _source(identity: str) -> str:
    return f"{identity}.png"  # the trainer makes this name out of the image's


def _label_texts(rows: pd.DataFrame, scale: Callable[[float], float]) -> dict[str, Sequence[str]]:
    names = ["reference_id", "dist_type", "dist_level", "position"]
    columns = [
        dict(zip(names, values, strict=True)) for values in zip(*(rows[name].tolist() for name in names), strict=True)
    ]
    return {
        "distorted_image": [_image(row, row["position"]) for row in columns],
        "quality_score": format_numbers(scale(mos) for mos in rows["mos"].tolist()),
        "source_image": [_source(row["reference_id"]) for row in columns],
        "matched_reference": [guarded(anchor) for anchor in rows["anchor"].tolist()],
        "distortion_type": [str(row["dist_type"]) for row in columns],
        "distortion_level": [str(row["dist_level"]) for row in columns],
    }


def _anchor_names(anchors: set[str], source: str) -> dict[str, str]:
    """Call anchors I01.png, I02.png, ..., as that trainer picks them: KADID-10k's own numbers, else in their order."""
    if source == "kadid10k":
        return {anchor: f"{anchor}.png" for anchor in anchors}
    return {anchor: f"I{number:02d}.png" for number, anchor in enumerate(sorted(anchors), start=1)}
