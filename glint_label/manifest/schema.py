"""The columns of a build's tables: names, types, ranges, meanings. manifests/README.md explains the format."""

from typing import Any

# name -> (type, range, meaning); {low} and {high} are the source's range of scores.
METADATA_COLUMNS = {
    "file_name": (
        "string",
        "",
        "pixel file beside this metadata.csv; the name it will have when there is none yet",
    ),
    "reference": ("string", "", "pristine photo, relative to the references root `refs` of run.json"),
    "reference_id": ("string", "16 hex digits", "first 16 digits of the sha256 of reference"),
    "dist_type": ("int64", "1..25", "KADID-10k's number of the distortion; 0 for one that it does not have"),
    "dist_name": ("string", "", "name of the distortion"),
    "dist_level": (
        "int64",
        "1..5",
        "index of the setting; NOT severity: types 18 and 25 are mildest at level 3",
    ),
    "seed": (
        "int64",
        "0..2^53-1",
        "with the reference, dist_name and dist_level it rebuilds the same pixels",
    ),
    "mos": ("float64", "{low}..{high}", "pseudo mean opinion score, HIGHER IS BETTER"),
    "mos_error": ("float64", "0..", "standard error of mos against a panel's mean score, on the scale of mos"),
    "anchor": ("string", "", "the most similar rated anchor"),
    "similarity": ("float64", "-1..1", "similarity of the reference and that anchor"),
    "split": ("string", "train, val", "by content group: near-duplicates never straddle it"),
}
REFERENCES_COLUMNS = {
    "reference_id": ("string", "16 hex digits", "first 16 digits of the sha256 of reference"),
    "reference": ("string", "", "pristine photo, relative to the references root `refs` of run.json"),
    "sha256": ("string", "64 hex digits", "of the photo's file"),
    "file_width": ("int64", "64..", "of the picture in the file, pixels, after the EXIF orientation"),
    "file_height": ("int64", "64..", "of the picture in the file, pixels, after the EXIF orientation"),
    "width": ("int64", "64..", "of the picture that is labelled: the file's, brought to size"),
    "height": ("int64", "64..", "of the picture that is labelled: the file's, brought to size"),
    "shard": ("int64", "0..", "number of the folder below shards/"),
    "neighbours": ("JSON list of strings", "", "the nearest anchors, nearest first"),
    "similarities": ("JSON list of numbers", "-1..1", "similarity to each neighbour"),
    "weights": (
        "JSON list of numbers",
        "",
        "how much each neighbour's ratings count through content (gp: may be negative); empty: no labels",
    ),
    "mos_offset": ("float64", "", "mean of the reference's labels less the mean of the source's condition means"),
    "split": ("string", "train, val", "empty: abstained or excluded"),
    "near_duplicate_of": (
        "string",
        "",
        "`excluded:NAME` (of --exclude-near), `anchor:NAME`, or the earlier reference that is the same picture; "
        "else empty",
    ),
}
FAILED_COLUMNS = {
    "reference": ("string", "", "the photo that could not be used"),
    "reason": (
        "string",
        "",
        "unreadable, empty, not_an_image, truncated, too_large, too_small, animated, unsupported, memory, changed, "
        "crashed, timeout",
    ),
    "message": ("string", "", "what was found"),
}


def schema(mos_range: tuple[float, float], size: tuple[int, int] | None) -> dict[str, Any]:
    """Describe every column of the three tables, for label_schema.json."""
    low, high = mos_range
    tables = {
        "metadata.csv": METADATA_COLUMNS,
        "references.csv": REFERENCES_COLUMNS,
        "failed.csv": FAILED_COLUMNS,
    }
    return {
        "mos_range": [low, high],
        "higher_is_better": True,
        "size": "native" if size is None else list(size),
        "tables": {
            table: {
                name: {"type": kind, "range": extent.format(low=low, high=high), "meaning": meaning}
                for name, (kind, extent, meaning) in columns.items()
            }
            for table, columns in tables.items()
        },
    }
