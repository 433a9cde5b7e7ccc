"""The format of a build: columns, recipes and their seeds, shards, reading. manifests/README.md explains it.

Tables are read by header name, never by position, and every file that is read is checked against its hash.
"""

from glint_label.manifest.reading import (
    checksum_of,
    digest_of,
    finished_shards,
    iterate_shards,
    read_audit,
    read_manifest,
    read_run,
    read_shard,
    root_of,
    size_of,
)
from glint_label.manifest.recipes import (
    anchor_seeds,
    pixel_name,
    pixel_path,
    recipe_seeds,
    reference_id,
    reference_path,
    split_of,
)
from glint_label.manifest.schema import FAILED_COLUMNS, METADATA_COLUMNS, REFERENCES_COLUMNS, schema
from glint_label.manifest.selection import EVERYTHING, Selection
from glint_label.manifest.shards import (
    FileFacts,
    Shard,
    ShardCounts,
    ShardRecord,
    count_shards,
    cut_shards,
    read_record,
    record_time,
    shard_folder,
    shard_folders,
    write_record,
)
from glint_label.manifest.tables import format_csv, format_lines, format_list, format_numbers, read_rows

__all__ = [
    "EVERYTHING",
    "FAILED_COLUMNS",
    "METADATA_COLUMNS",
    "REFERENCES_COLUMNS",
    "FileFacts",
    "Selection",
    "Shard",
    "ShardCounts",
    "ShardRecord",
    "anchor_seeds",
    "checksum_of",
    "count_shards",
    "cut_shards",
    "digest_of",
    "finished_shards",
    "format_csv",
    "format_lines",
    "format_list",
    "format_numbers",
    "iterate_shards",
    "pixel_name",
    "pixel_path",
    "read_audit",
    "read_manifest",
    "read_record",
    "read_rows",
    "read_run",
    "read_shard",
    "recipe_seeds",
    "record_time",
    "reference_id",
    "reference_path",
    "root_of",
    "schema",
    "shard_folder",
    "shard_folders",
    "size_of",
    "split_of",
    "write_record",
]
