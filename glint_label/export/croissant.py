"""`croissant`: the labels as two tables, described in JSON-LD as MLCommons Croissant reads it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glint_label.export.format import NONE, About, Format, Part, Sample
from glint_label.export.tables import COLUMNS, text_columns, write_table, write_tables
from glint_label.files import format_json, sha256_of, write_atomic
from glint_label.manifest import METADATA_COLUMNS, REFERENCES_COLUMNS
from glint_label.names import guarded

_KINDS = {"string": "sc:Text", "int64": "sc:Integer", "float64": "sc:Float"}
_GUARDED = ("reference", "near_duplicate_of")
# The names of Croissant 1.0, as its specification prints them.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


class Croissant(Format):
    """croissant.json, metadata.csv, references.csv."""

    name = "croissant"
    title = "labels as CSV with a Croissant description"
    images = (NONE,)
    separate = False
    files = (r"croissant\.json", r"metadata\.csv", r"references\.csv")

    def writes_parts(self, images: str) -> bool:  # noqa: ARG002 (the protocol's signature)
        """Never: all of it is tables."""
        return False

    def write_part(self, part: Part, samples: Iterator[Sample], folder: Path) -> Sequence[Path]:  # noqa: ARG002
        """Write nothing."""
        return []

    def write_tables(self, parts: Callable[[], Iterator[Part]], about: About, folder: Path) -> Sequence[Path]:
        """Write both tables in one go, then their description."""
        references: list[Mapping[str, str]] = []

        def chunks() -> Iterator[dict[str, list[str]]]:
            for part in parts():
                references.extend(part.references)
                yield text_columns(part.rows)

        metadata = folder / "metadata.csv"
        write_tables({metadata: COLUMNS}, chunks())
        texts = {
            name: [guarded(row[name]) if name in _GUARDED else row[name] for row in references]
            for name in REFERENCES_COLUMNS
        }
        photos = write_table(folder / "references.csv", REFERENCES_COLUMNS, texts)
        described = folder / "croissant.json"
        write_atomic(described, format_json(_describe(about, metadata, photos)))
        return [metadata, photos, described]

    def usage(self, about: About) -> str:  # noqa: ARG002 (the protocol's signature)
        """Load it with mlcroissant."""
        return (
            "```python\nimport mlcroissant\n\n"
            'dataset = mlcroissant.Dataset(jsonld="FOLDER/croissant.json")\n'
            'row = next(iter(dataset.records(record_set="images")))\nprint(row["images/mos"])\n```'
        )


def _describe(about: About, metadata: Path, references: Path) -> dict[str, Any]:
    run = about.run
    config = run["config"]
    audit = about.measured
    accuracy = "It has not been measured how well the labels agree with human ratings."
    if audit is not None:
        accuracy = (
            f"Labels made in this way for rated photos that were left out agree with the ratings to an SROCC of "
            f"{audit['srocc']:.3f} and an RMSE of {audit['rmse']:.3f} (scale {_scale(about)})."
        )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "pseudo-labelled-image-quality",
        "description": (
            f"{about.total:,} distorted images of {about.references:,} pristine photos, as recipes, with image "
            f"quality labels that were transferred from the human ratings of {config['source']}. No person has "
            "rated these images."
        ),
        "citeAs": run["licences"]["ratings_citation"] or "see README.md",
        "license": f"ratings: {run['licences']['ratings']}; photos: {run['licences']['references']}",
        "keywords": ["image quality assessment", "pseudo-labels", "synthetic distortions"],
        "version": "1.0.0",
        "datePublished": run["calls"][-1]["started"][:10],
        "isLiveDataset": False,
        "rai:hasSyntheticData": True,
        "rai:dataCollection": (
            "Each pristine photo was distorted by program, by the distortions of the rated dataset at its levels; "
            "a row's reference, dist_name, dist_level and seed make the same pixels again."
        ),
        "rai:dataCollectionType": ["Derived", "Synthetic distortions"],
        "rai:dataAnnotationProtocol": [
            f"Labels are transferred, not rated: method {config['transfer']} from {run['anchors']} rated anchors of "
            f"{config['source']}, compared by {config['embedder']['embedder']}. mos_error is the standard error of a "
            "label against the mean score of a panel."
        ],
        "rai:machineAnnotationTools": [f"glint-label {run['calls'][-1]['versions']['glint-label']}"],
        "rai:dataLimitations": [
            accuracy,
            "dist_level is the index of a setting, not a severity. Split by `split`, never by row: near-duplicates "
            "share one.",
        ],
        "rai:dataUseCases": ["Pre-training of no-reference image quality models; not a benchmark of them."],
        "rai:personalSensitiveInformation": ["Whatever the photos show; their file names are in `reference`."],
        "distribution": [_file(metadata), _file(references)],
        "recordSet": [
            _records("images", metadata, METADATA_COLUMNS, about, {"reference": "references/reference"}),
            _records("references", references, REFERENCES_COLUMNS, about, {}),
        ],
    }


def _scale(about: About) -> str:
    low, high = about.mos_range
    return f"{low:g}..{high:g}"


def _file(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "text/csv",
        "contentSize": f"{path.stat().st_size} B",
        "sha256": sha256_of(path),
    }


def _records(
    name: str, path: Path, columns: Mapping[str, tuple[str, str, str]], about: About, links: Mapping[str, str]
) -> dict[str, Any]:
    low, high = about.mos_range
    fields = []
    for column, (kind, extent, meaning) in columns.items():
        text = f"{meaning} ({extent.format(low=low, high=high)})" if extent else meaning
        entry = {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": column,
            "description": text,
            "dataType": _KINDS.get(kind, "sc:Text"),
            "source": {"fileObject": {"@id": path.name}, "extract": {"column": column}},
        }
        if column in links:
            entry["references"] = {"field": {"@id": links[column]}}
        fields.append(entry)
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
