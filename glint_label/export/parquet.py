"""`hf`: Parquet files that Hugging Face `datasets` loads, with the images inside."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import COLUMNS
from glint_label.files import open_atomic
from glint_label.manifest import METADATA_COLUMNS

if TYPE_CHECKING:
    from pyarrow import Schema

GROUP_BYTES = 1 << 26  # images that a reader holds at a time, and this writer
HUB_SPLITS = {"train": "train", "val": "validation"}  # as they are called there


class Parquet(Format):
    """data/train-00000.parquet, ...: one row per image."""

    name = "hf"
    title = "Parquet files that Hugging Face datasets loads, images inside"
    images = (NONE, "png", "webp")
    files = (r"data/(train|val)-\d{5,}\.parquet",)
    needs = ("pyarrow",)

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write one file; a group of rows holds 64 MB of images."""
        import pyarrow as pa
        from pyarrow import parquet

        path = folder / "data" / f"{part.name}.parquet"
        writer = None
        with open_atomic(path) as file:
            try:
                for records in _groups(samples):
                    schema = _schema("image" in records[0])
                    if writer is None:
                        writer = parquet.ParquetWriter(
                            file,
                            schema,
                            compression="zstd",
                            use_dictionary=list(COLUMNS),
                            write_statistics=list(COLUMNS),
                        )
                    writer.write_table(pa.Table.from_pylist(records, schema))
                if writer is not None:
                    writer.close()
            except BaseException:
                if writer is not None:
                    writer.is_open = False  # when it is deleted it would write the file's end, and say that it cannot
                raise
        return [path]

    def card_header(self, about: About) -> Mapping[str, Any]:
        """Name the files of each split."""
        return hub_configs(about, {split: f"data/{split}-*.parquet" for split in about.rows})

    def usage(self, about: About) -> str:
        """Load it with datasets."""
        split = HUB_SPLITS[next(iter(about.rows))]
        row = 'row["image"], row["mos"]' if about.images != NONE else 'row["file_name"], row["mos"]'
        return (
            "```python\nfrom datasets import load_dataset\n\n"
            f'rows = load_dataset("FOLDER", split="{split}")\nrow = rows[0]\nprint({row})\n```'
        )


def hub_configs(about: About, patterns: Mapping[str, str]) -> Mapping[str, Any]:
    """Say in the header of README.md which files belong to which split, as `datasets` reads it."""
    data_files = [{"split": HUB_SPLITS[split], "path": patterns[split]} for split in about.rows]
    return {"configs": [{"config_name": "default", "data_files": data_files}]}


def _groups(samples: Iterator[Sample]) -> Iterator[list[dict[str, Any]]]:
    """Gather rows; of a sample nothing stays but what is written, so that its photo can be forgotten."""
    group: list[dict[str, Any]] = []
    held = 0
    for sample in samples:
        group.append(_record(sample))
        held += len(sample.image or b"")
        if held >= GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _record(sample: Sample) -> dict[str, Any]:
    record = {name: sample.row[name] for name in COLUMNS}
    if sample.image is not None:
        record["image"] = {"bytes": sample.image, "path": sample.row["file_name"]}
    return record


def _schema(with_images: bool) -> "Schema":
    """Type every column, and tell `datasets` that one holds images."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
    fields = [pa.field(name, kinds[kind]) for name, (kind, _, _) in METADATA_COLUMNS.items()]
    features: dict[str, Any] = {
        name: {"dtype": kind, "_type": "Value"} for name, (kind, _, _) in METADATA_COLUMNS.items()
    }
    if with_images:
        image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
        fields.insert(0, pa.field("image", image))
        features = {"image": {"_type": "Image"}, **features}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
