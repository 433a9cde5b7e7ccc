"""The visual report of a training run: its settings, its curves, its validation, and the images that it finds hard."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glint_label.distortions import DISTORTIONS
from glint_label.errors import InputError, StateError
from glint_label.files import read_json
from glint_label.names import as_text, from_text
from glint_label.progress import MakeProgress, no_progress
from glint_label.report import (
    LARGE,
    Mark,
    PictureTask,
    Series,
    illustrate,
    lines,
    render_page,
    scatter,
)
from glint_model.network.checkpoint import size_of_words
from glint_model.training import metrics_log, validation

_HARDEST = 24
_PLACES = 150  # of a curve


def report_run(out: Path, workers: int = 0, progress: MakeProgress = no_progress) -> str:
    """Make the visual report of a training run, as HTML.

    Args:
        out: The run's folder.
        workers: Processes that make pictures; 0 for this one.
        progress: Makes the progress bar, which counts pictures.

    Raises:
        StateError: run.json or a table is damaged.
    """
    run = _read_run(out)
    curve = _read_table(out / "metrics.csv", metrics_log.COLUMNS)
    images = _read_table(out / validation.FILE, validation.COLUMNS)
    hardest = _hardest(images)
    sheet, full = illustrate(hardest, [_task(row) for row in hardest], "hardest", workers, progress)
    validated = [row for row in curve if row["val_srocc"]]
    context = {
        "name": as_text(out.resolve().name),
        "out": as_text(out),
        "run": run,
        "facts": _facts(run, curve),
        "settings": _flat(run["identity"]["settings"]),
        "sentences": _sentences(run, curve, validated),
        "loss": _loss(curve),
        "rate": _rate(curve),
        "validation": _validation(validated),
        "validated": validated[-12:],
        "scatter": _scatter(images),
        "images": len(images),
        "hardest": hardest,
        "distortions": list(dict.fromkeys(row["distortion"] for row in images if row["distortion"])),
        "levels": sorted({int(row["level"]) for row in images if row["distortion"]}),
        "label_range": _label_range(images),
        "label_step": "any",
        "splits": [],
        "similarity": False,
    }
    return render_page("run.html.j2", context, templates=Path(__file__).parent, sheets=[sheet], pictures=full)


def _read_run(out: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = read_json(out / "run.json")
        if not isinstance(run["identity"]["settings"], dict) or not isinstance(run["identity"]["data"], dict):
            raise TypeError("no settings")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{out / 'run.json'}: damaged ({error}); restore it, or train again") from error
    return run


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a table of the run; empty where it is not there yet."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: row[name] for name in columns} for row in csv.DictReader(file)]
        for row in rows:
            for name in ("step", "loss", "mos", "score"):
                float(row.get(name, 0))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StateError(f"{path}: damaged ({error}); go on with the run, or train again") from error
    return rows


def _hardest(images: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Take the images whose scores are farthest from their labels."""
    rows: list[dict[str, Any]] = [
        {
            **row,
            "level": int(row["level"]),
            "mos": float(row["mos"]),
            "score": float(row["score"]),
            "miss": float(row["score"]) - float(row["mos"]),
            "name": Path(row["photo"]).name,
        }
        for row in images
        if math.isfinite(float(row["score"]))
    ]
    rows.sort(key=lambda row: (-abs(row["miss"]), row["photo"], row["distortion"], row["level"]))
    return [{**row, "key": f"hard-{number}"} for number, row in enumerate(rows[:_HARDEST])]


def _task(row: Mapping[str, Any]) -> PictureTask | None:
    try:
        path = Path(from_text(row["photo"]))
        size = size_of_words(row["size"])
    except (InputError, ValueError):
        return None
    if not path.is_file() or (row["distortion"] and row["distortion"] not in DISTORTIONS):
        return None
    recipes = ((row["distortion"], row["level"], int(row["seed"])),) if row["distortion"] else ()
    return PictureTask(row["key"], path, row["sha256"], size, recipes, full=(0,), cell=LARGE)


def _facts(run: Mapping[str, Any], curve: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    settings, data = run["identity"]["settings"], run["identity"]["data"]
    done = int(curve[-1]["step"]) if curve else 0
    kinds = {"manifest": "a dataset of pseudo-labels", "synthetic": "generated images, as a trial"}
    trained_on = kinds.get(str(data.get("kind")), str(data.get("kind", "")))
    return [
        ("Preset", str(settings.get("preset", ""))),
        ("Steps", f"{done:,} of {run['identity']['steps']:,} done"),
        ("Trained on", f"{trained_on}: {data.get('train', 0):,} images, {data.get('val', 0):,} to validate on"),
        ("Batch", f"{settings.get('batch_size')} images"),
        ("Weights from", str(run.get("weights", ""))),
        ("Seed", str(settings.get("seed", ""))),
        ("Made with", f"glint-label {run.get('version', '')}, torch {run.get('torch', '')}"),
    ]


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        found += (
            _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(f"{before}{name}", json.dumps(value))]
        )
    return found


def _sentences(
    run: Mapping[str, Any], curve: Sequence[Mapping[str, str]], validated: Sequence[Mapping[str, str]]
) -> list[str]:
    if not curve:
        return ["Training has not done a step yet."]
    said = [] if run.get("complete") else ["Training is not finished; the same command goes on with it."]
    scores = [(float(row["val_srocc"]), int(row["step"])) for row in validated]
    known = [one for one in scores if math.isfinite(one[0])]
    if not known:
        return [*said, "Nothing was validated yet."]
    best, last = max(known, key=lambda one: (one[0], -one[1])), known[-1]
    said.append(
        f"Scores and labels of the validation images agree with an SROCC of {last[0]:.3f} at step {last[1]:,}."
    )
    if best[1] == last[1]:
        said.append("That is the best so far: training longer may still help.")
    else:
        said.append(f"The best was {best[0]:.3f} at step {best[1]:,}; best.safetensors holds it.")
    return said


def _thin(at: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Average neighbouring steps, so that a curve has _PLACES at most."""
    parts = np.array_split(np.arange(len(at)), min(_PLACES, len(at)))
    return (
        [float(np.mean(np.asarray(at)[part])) for part in parts],
        [float(np.mean(np.asarray(values)[part])) for part in parts],
    )


def _loss(curve: Sequence[Mapping[str, str]]) -> Any:
    if not curve:
        return None
    at, values = _thin([float(row["step"]) for row in curve], [float(row["loss"]) for row in curve])
    return lines([Series("loss", values, at)], "step", "loss", y_range=(0.0, max(values)))


def _rate(curve: Sequence[Mapping[str, str]]) -> Any:
    if not curve:
        return None
    at, values = _thin([float(row["step"]) for row in curve], [float(row["lr"]) for row in curve])
    return lines([Series("learning rate", values, at, style=3)], "step", "learning rate", y_range=(0.0, max(values)))


def _validation(validated: Sequence[Mapping[str, str]]) -> Any:
    if not validated:
        return None
    at = [float(row["step"]) for row in validated]
    series = []
    for style, (column, name) in enumerate((("val_srocc", "SROCC"), ("val_plcc", "PLCC")), start=1):
        values = [float(row[column]) for row in validated]
        series.append(Series(name, [value if math.isfinite(value) else None for value in values], at, style))
    known = [(value, step) for value, step in zip(series[0].values, at, strict=True) if value is not None]
    mark = Mark(max(known, key=lambda one: (one[0], -one[1]))[1], "best") if known else None
    low = min([0.0, *(value for one in series for value in one.values if value is not None)])
    return lines(series, "step", "agreement with the labels", (low, 1.0), mark)


def _label_range(images: Sequence[Mapping[str, str]]) -> list[float]:
    labels = [float(row["mos"]) for row in images]
    return [math.floor(min(labels)), math.ceil(max(labels))] if labels else []


def _scatter(images: Sequence[Mapping[str, str]]) -> Any:
    known = [row for row in images if math.isfinite(float(row["score"]))]
    if not known:
        return None
    labels, scores = ([float(row[name]) for row in known] for name in ("mos", "score"))
    low, high = min([*labels, *scores]), max([*labels, *scores])
    margin = 0.03 * (high - low) or 0.5
    span = (low - margin, high + margin)
    series: dict[str, tuple[list[float], list[float]]] = {}
    for row in known:
        xs, ys = series.setdefault(row["distortion"], ([], []))
        xs.append(float(row["score"]))
        ys.append(float(row["mos"]))
    return scatter(series, "score of the network", "label", span, span, diagonal=True)
