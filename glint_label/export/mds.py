"""`streaming`: MDS files, which MosaicML's StreamingDataset reads."""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import COLUMNS
from glint_label.files import format_json, write_atomic
from glint_label.manifest import METADATA_COLUMNS

FILE_BYTES = 1 << 26  # what that library cuts its own files at; a file is loaded as a whole
_KINDS = {"string": ("str", None), "int64": ("int", 8), "float64": ("float64", 8)}  # -> encoding and size there


class Streaming(Format):
    """train/index.json and train/00000-000.mds, ...

    A file holds, little-endian: uint32 n; n + 1 offsets from its beginning, uint32; the description of its columns as
    JSON; then n samples, each of them the lengths of its columns without a fixed one, uint32, and the values.
    """

    name = "streaming"
    title = "MDS files for MosaicML Streaming"
    images = (NONE, "png")
    files = (r"(train|val)/(index\.json|\d{5,}-\d{3,}\.mds)",)

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:
        """Write files of 64 MB at most, one sample at least."""
        written: list[Path] = []
        held: list[bytes] = []
        size = 0
        columns: dict[str, tuple[str, int | None]] = {}

        def flush() -> None:
            path = folder / part.split / f"{part.number:05d}-{len(written):03d}.mds"
            write_atomic(path, _encode_file(held, columns))
            written.append(path)
            held.clear()

        for sample in samples:
            columns = _columns(sample.image is not None)
            encoded = _encode_sample(sample, columns)
            if held and size + len(encoded) > FILE_BYTES:
                flush()
                size = 0
            held.append(encoded)
            size += len(encoded)
        flush()
        return written

    def write_tables(self, parts: Callable[[], Iterator[Part]], about: About, folder: Path) -> Sequence[Path]:  # noqa: ARG002
        """Write an index.json a split: the files, and how many samples each has."""
        indices = []
        described = _describe(_columns(about.images != NONE))
        for split in about.rows:
            entries = []
            for path in sorted((folder / split).glob("*.mds")):
                with path.open("rb") as file:
                    (samples,) = struct.unpack("<I", file.read(4))
                raw = {"basename": path.name, "bytes": path.stat().st_size, "hashes": {}}
                entries.append({**described, "raw_data": raw, "samples": samples, "zip_data": None})
            index = folder / split / "index.json"
            write_atomic(index, format_json({"shards": entries, "version": 2}))
            indices.append(index)
        return indices

    def usage(self, about: About) -> str:
        """Load it with streaming."""
        split = next(iter(about.rows))
        row = 'row["image"], row["mos"]' if about.images != NONE else 'row["file_name"], row["mos"]'
        return (
            "```python\nfrom streaming import StreamingDataset\n\n"
            f'rows = StreamingDataset(local="FOLDER", split="{split}", batch_size=1)\nrow = rows[0]\nprint({row})\n```'
        )


def _columns(with_images: bool) -> dict[str, tuple[str, int | None]]:
    """Name the columns in the order of the format, the alphabet's, with their encodings and fixed sizes."""
    columns = {name: _KINDS[kind] for name, (kind, _, _) in METADATA_COLUMNS.items()}
    if with_images:
        columns["image"] = ("png", None)
    return dict(sorted(columns.items()))


def _describe(columns: dict[str, tuple[str, int | None]]) -> dict[str, Any]:
    return {
        "column_encodings": [encoding for encoding, _ in columns.values()],
        "column_names": list(columns),
        "column_sizes": [size for _, size in columns.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": FILE_BYTES,
        "version": 2,
    }


def _encode_sample(sample: Sample, columns: dict[str, tuple[str, int | None]]) -> bytes:
    values: dict[str, Any] = {name: sample.row[name] for name in COLUMNS} | {"image": sample.image}
    encode = {
        "png": bytes,
        "str": lambda text: text.encode(),
        "int": struct.Struct("<q").pack,
        "float64": struct.Struct("<d").pack,
    }
    parts = {name: encode[encoding](values[name]) for name, (encoding, _) in columns.items()}
    lengths = [len(parts[name]) for name, (_, size) in columns.items() if size is None]
    return struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(parts.values())


def _encode_file(samples: Sequence[bytes], columns: dict[str, tuple[str, int | None]]) -> bytes:
    described = json.dumps(_describe(columns), sort_keys=True).encode()
    offsets = np.cumsum([0, *map(len, samples)]) + 4 + 4 * (len(samples) + 1) + len(described)
    return b"".join([struct.pack("<I", len(samples)), offsets.astype("<u4").tobytes(), described, *samples])
