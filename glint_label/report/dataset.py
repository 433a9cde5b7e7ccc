"""The report of a build: its figures and samples brought into the order of a reader's questions."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from glint_label.errors import GlintError
from glint_label.images import Size
from glint_label.manifest import read_audit, read_shard, reference_path, size_of
from glint_label.manifest.inspect import Inspection
from glint_label.manifest.totals import BANDS, Totals
from glint_label.names import as_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.report.charts import Mark, histogram, levels
from glint_label.report.page import Picture, render_page
from glint_label.report.pictures import LARGE, SMALL, Made, PictureTask, make_pictures
from glint_label.report.quality import describe_quality
from glint_label.report.samples import Group, Reference, choose_for_grid, choose_groups
from glint_label.report.sprites import Sprites, Thumbnail
from glint_label.sources import find_source_dir, load_source
from glint_label.storage import place_of

_LOG = logging.getLogger(__name__)

_LISTED = 40  # near-duplicates, problems
_EXAMPLES = 5  # of a reason
_BARS = 12  # anchors
_FULL_ORDER = (5, 3, 1, 4, 2)  # levels whose pictures get room first
_MOST_FULL = 90  # more have never found room


def report_build(
    out: Path,
    found: Inspection,
    refs: Path | None = None,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> str:
    """Make the visual report of a build, as HTML.

    Args:
        out: The build.
        found: What is in it.
        refs: The references' root, where it is not the one that run.json names.
        workers: Processes; 0 for this one.
        progress: Makes the progress bar, which counts pictures.
    """
    figures, run = found.figures, found.run
    photos = _Photos(refs or place_of(run["refs"]), _anchor_files(run), size_of(run))
    groups = choose_groups(found.references, figures["hubs"], len(figures["abstained"]))
    chosen = choose_for_grid(found.references, photos.is_there) if photos.root.is_dir() else []
    rows = {reference.name: _rows_of(out, reference) for reference in chosen}
    wanted = _choose_full(chosen, rows)
    tasks = photos.tasks(groups) | photos.grid_tasks(chosen, rows, set(wanted))
    made = make_pictures(tasks, workers, progress) if tasks else {}
    large, small, tiles = Sprites("photos", LARGE), Sprites("anchors", SMALL), Sprites("tiles", SMALL)
    thumbnails = {
        key: (large if key.startswith("photo:") else small).add(one[0].small)
        for key, one in sorted(made.items())
        if not key.startswith("grid:")
    }
    grid = [_grid_of(reference, rows[reference.name], made, tiles) for reference in chosen]
    names = [row["name"] for row in figures["distortions"]]
    context = {
        "figures": figures,
        "name": as_text(out.resolve().name),
        "made": _made(run, figures),
        "commands": list(dict.fromkeys(call["command"] for call in run.get("calls", [])))[:_LISTED],
        "versions": _versions(run),
        "quality": describe_quality(read_audit(out), figures["transfer"]),
        "curves": _curves(figures),
        "histogram": _label_histogram(figures),
        "similarities": _similarity_histogram(figures),
        "groups": [_cards(group, thumbnails) for group in groups if group.kind != "anchor"],
        "anchor_groups": [_cards(group, thumbnails) for group in groups if group.kind == "anchor"],
        "hubs": _hubs(figures),
        "grid": [block for block in grid if block["rows"]],
        "no_pictures": _why_no_pictures(photos, made),
        "no_anchors": not photos.anchors,
        "reasons": _reasons(figures["failures"]),
        "listed": _LISTED,
        "distortions": names,
        "levels": sorted({level for row in figures["distortions"] for level in row["mos_by_level"]}),
        "label_range": figures["mos_range"],
        "label_step": (figures["mos_range"][1] - figures["mos_range"][0]) / (len(figures["labels"]["counts"])),
        "splits": list(figures["splits"]),
        "similarity": True,
    }
    return render_page(
        "dataset.html.j2",
        context,
        sheets=[large.finish(), small.finish(), tiles.finish()],
        pictures=_full_pictures(wanted, rows, made),
        data={"edges": figures["labels"]["edges"], "bands": BANDS, "cells": _cells(found.totals)},
    )


class _Photos:
    """Where photos and anchors lie, and what is to be made of them."""

    def __init__(self, root: Path, anchors: Mapping[str, Path], size: Size) -> None:
        self.root = root
        self.anchors = anchors
        self._size = size

    def is_there(self, name: str) -> bool:
        try:
            return reference_path(self.root, name).is_file()
        except (GlintError, OSError):
            return False

    def tasks(self, groups: Sequence[Group]) -> dict[str, PictureTask]:
        """List the photos and anchors that are shown."""
        found = {}
        for reference in [one for group in groups for one in group.references]:
            if self.is_there(reference.name):
                key = f"photo:{reference.name}"
                place = reference_path(self.root, reference.name)
                found[key] = PictureTask(key, place, reference.sha256, self._size, cell=LARGE)
            for anchor, _, _ in reference.neighbours:
                if anchor in self.anchors:
                    key = f"anchor:{anchor}"
                    found[key] = PictureTask(key, self.anchors[anchor], "", self._size)
        return found

    def grid_tasks(
        self, chosen: Sequence[Reference], rows: Mapping[str, Sequence[Mapping[str, Any]]], full: Collection[str]
    ) -> dict[str, PictureTask]:
        """List what is distorted: a task for each photo and distortion; `full` has the keys of full pictures."""
        found = {}
        for reference in chosen:
            place = reference_path(self.root, reference.name)
            for name, here in _by_name(rows[reference.name]).items():
                key = f"grid:{reference.name}:{name}"
                recipes = tuple((name, row["dist_level"], row["seed"]) for row in here)
                large = tuple(number for number, row in enumerate(here) if _key(row) in full)
                found[key] = PictureTask(key, place, reference.sha256, self._size, recipes, large)
        return found


def _anchor_files(run: Mapping[str, Any]) -> dict[str, Path]:
    """Find the anchors' files on this machine; empty where they are not here."""
    name = run["config"]["source"]
    try:
        place = place_of(run["source_dir"]) if run.get("source_dir") else find_source_dir(name)
        if place is None or not place.is_dir():
            return {}
        mos_range = tuple(run["mos_range"]) if name == "custom" else None
        return load_source(name, place, allow_missing_anchors=True, mos_range=mos_range).anchors
    except GlintError as error:
        _LOG.warning("no pictures of anchors: %s", error)
        return {}


def _rows_of(out: Path, reference: Reference) -> list[dict[str, Any]]:
    """Read the rows of one photo, by distortion and level."""
    table = read_shard(out, reference.shard).metadata
    found: list[dict[str, Any]] = table[table["reference"] == reference.name].to_dict("records")  # type: ignore[assignment]
    return found


def _made(run: Mapping[str, Any], figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = run["config"]
    labelled = figures["references"] - len(figures["abstained"]) - len(figures["excluded"])
    missing = f", without {', '.join(figures['missing_anchors'])}" if figures["missing_anchors"] else ""
    held = config.get("exclude_anchors") or []
    splits = ", ".join(f"{number:,} {name}" for name, number in figures["splits"].items())
    size = figures["size"]
    rows = [
        ("Images", f"{figures['rows']:,}" + (f" ({splits})" if splits else "")),
        (
            "Photos",
            f"{labelled:,} labelled, {len(figures['abstained']):,} without a similar anchor, "
            f"{len(figures['excluded']):,} excluded, {len(figures['failures']):,} not usable",
        ),
        ("Ratings", f"{config['source']}, {figures['anchors']} rated photos (anchors){missing}"),
        ("Origin of the labels", str(config.get("ratings", ""))),
        ("Held out", f"{len(held)} anchors: {', '.join(held)}" if held else "no anchor"),
        ("Scale", f"{figures['mos_range'][0]:g} (worst) to {figures['mos_range'][1]:g} (best)"),
        ("Photos compared by", f"{figures['embedder']} embedding"),
        ("Labels by", f"{figures['transfer']} transfer"),
        ("Size of a picture", "that of its file" if size == "native" else f"{size[0]} x {size[1]} px"),
        ("Pixels", f"{figures['pixel_files']:,} files" if figures["pixel_files"] else "made on demand from recipes"),
        ("Seed", str(run["seed"])),
        ("Made with", f"glint-label {_versions(run)[0][1]}" if _versions(run) else ""),
        ("Hash of the settings", str(run["config_sha256"])[:16]),
        ("Terms", _terms(run)),
    ]
    return [(term, value) for term, value in rows if value]


def _versions(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what the last call ran with: the tool, Python, libraries, codecs."""
    versions = (run.get("calls") or [{"versions": {}}])[-1]["versions"]
    first = {name: versions.get(name) for name in ("glint-label", "python", "platform")}
    everything = {**first, **versions.get("libraries", {}), **versions.get("codecs", {})}
    return [(name, str(number)) for name, number in everything.items() if number]


def _terms(run: Mapping[str, Any]) -> str:
    licences = run.get("licences", {})
    said = (licences.get("ratings", ""), licences.get("ratings_citation", ""))
    return ". ".join(one for one in said if one)


def _curves(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    low, high = figures["mos_range"]
    return [
        {
            **row,
            "chart": levels(
                row["name"], row["mos_by_level"], row["spread_by_level"], row["mos_error_by_level"], (low, high)
            ),
        }
        for row in figures["distortions"]
    ]


def _label_histogram(figures: Mapping[str, Any]) -> Any:
    labels = figures["labels"]
    return histogram(labels["edges"], labels["counts"], "label (higher is better)", "images", name="labels")


def _similarity_histogram(figures: Mapping[str, Any]) -> Any:
    found = figures["similarity"]
    if not sum(found["counts"]):
        return None
    known = figures["supported_from"]
    mark = Mark(known, "95 % of anchors") if known is not None else None
    return histogram(found["edges"], found["counts"], "similarity to the nearest anchor", "photos", mark)


def _cards(group: Group, thumbnails: Mapping[str, Thumbnail]) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "anchor": group.anchor,
        "anchor_thumbnail": thumbnails.get(f"anchor:{group.anchor}"),
        "photos": [
            {
                "reference": reference,
                "thumbnail": thumbnails.get(f"photo:{reference.name}"),
                "neighbours": [
                    {
                        "anchor": anchor,
                        "similarity": similarity,
                        "weight": weight,
                        "thumbnail": thumbnails.get(f"anchor:{anchor}"),
                    }
                    for anchor, similarity, weight in reference.neighbours
                ],
            }
            for reference in group.references
        ],
    }


def _hubs(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = sum(figures["nearest"].values())
    found = list(figures["nearest"].items())[:_BARS]
    most = max((number for _, number in found), default=1)
    return [
        {"anchor": name, "photos": number, "share": number / total, "width": round(100 * number / most, 1)}
        for name, number in found
    ]


def _grid_of(
    reference: Reference, rows: Sequence[Mapping[str, Any]], made: Mapping[str, list[Made]], tiles: Sprites
) -> dict[str, Any]:
    """Lay out one photo's pictures: a row for each distortion, the worst first."""
    blocks = []
    for name, here in _by_name(rows).items():
        pictures = made.get(f"grid:{reference.name}:{name}")
        if pictures is None:
            continue
        shown = [
            {**row, "thumbnail": tiles.add(picture.small), "key": _key(row)}
            for row, picture in zip(here, pictures, strict=True)
        ]
        mean = sum(row["mos"] for row in here) / len(here)
        blocks.append({"name": name, "number": here[0]["dist_type"], "mean": mean, "tiles": shown})
    blocks.sort(key=lambda block: (block["mean"], block["number"]))
    return {"reference": reference, "rows": blocks}


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['reference_id']}-{row['dist_name']}-{row['dist_level']}"


def _by_name(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Sort a photo's rows by distortion."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["dist_name"], []).append(row)
    return found


def _choose_full(chosen: Sequence[Reference], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Name the pictures that are wanted at full size, the most telling first: the first photo, strongly distorted."""
    ranked = []
    for number, reference in enumerate(chosen):
        for row in rows[reference.name]:
            level = row["dist_level"]
            place = _FULL_ORDER.index(level) if level in _FULL_ORDER else len(_FULL_ORDER)
            ranked.append((number, place, row["dist_type"], _key(row)))
    return [key for *_, key in sorted(ranked)][:_MOST_FULL]


def _full_pictures(
    wanted: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Any]]], made: Mapping[str, list[Made]]
) -> list[Picture]:
    found = {}
    for reference, here in rows.items():
        for name, some in _by_name(here).items():
            for row, picture in zip(some, made.get(f"grid:{reference}:{name}", []), strict=False):
                found[_key(row)] = picture.full
    return [Picture(key, content) for key in wanted if (content := found.get(key)) is not None]


def _why_no_pictures(photos: _Photos, made: Mapping[str, list[Made]]) -> str:
    if any(key.startswith(("photo:", "grid:")) for key in made):
        return ""
    return f"The photos are not on this machine ({as_text(photos.root)} was looked for)."


def _reasons(failures: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    counts = Counter(row["reason"] for row in failures)
    return [
        {
            "reason": reason,
            "photos": number,
            "examples": [row for row in failures if row["reason"] == reason][:_EXAMPLES],
        }
        for reason, number in counts.most_common()
    ]


def _cells(totals: Totals) -> list[list[Any]]:
    """Count images by distortion, level, split, band of similarity and bin of labels; empty bands are 0."""
    return [
        [cell.name, cell.level, cell.split, [band.tolist() if band.any() else 0 for band in counts]]
        for cell, counts in sorted(totals.counts.items())
    ]
