"""The visual report of an evaluation: agreement, what takes no network, every distortion, the worst misses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from glint_label.manifest import recipe_seeds
from glint_label.progress import MakeProgress, no_progress
from glint_label.report import (
    LARGE,
    PictureTask,
    Point,
    illustrate,
    intervals,
    render_page,
    scatter,
)
from glint_model.datasets import RatedImages
from glint_model.evaluation.baselines import TITLES
from glint_model.evaluation.evaluate import Evaluation
from glint_model.evaluation.figures import MetricsAndIntervals

_MISSES = 24
_POINTS = 8000
_NAMES = {
    "srocc": "SROCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC after the fit",
    "krocc": "KROCC",
    "rmse": "RMSE",
    "rmse_fitted": "RMSE after the fit",
}


def report_evaluation(
    figures: Mapping[str, Any],
    scored: pd.DataFrame,
    found: Evaluation,
    rated: RatedImages,
    workers: int = 0,
    progress: MakeProgress = no_progress,
) -> str:
    """Make the visual report of an evaluation, as HTML.

    Args:
        figures: As metrics.json has them.
        scored: What `score_rated` returned.
        found: What `evaluate` made of it.
        rated: The images.
        workers: Processes that make the pictures of the worst misses; 0 for this one.
        progress: Makes the progress bar, which counts pictures.
    """
    metrics = found.pooled.metrics
    expected = scored["score"].to_numpy() if metrics.fit is None else metrics.fit(scored["score"].to_numpy())
    misses = _worst(scored.assign(expected=expected, miss=expected - scored["mos"]))
    sheet, full = illustrate(misses, [_task(row, rated, figures) for row in misses], "misses", workers, progress)
    lines = {"this network": found.pooled} | {
        TITLES[name]: comparison.pooled for name, comparison in found.baselines.items()
    }
    low, high = figures["mos_range"]
    context = {
        "figures": figures,
        "found": found,
        "facts": _facts(figures, found),
        "sentences": _sentences(found, figures),
        "measures": [_measure(name, found) for name in _NAMES],
        "scatter": _scatter(scored, found),
        "against": _against(lines),
        "lines": {name: _row(one) for name, one in lines.items()},
        "by_distortion": _by_distortion(found),
        "rows": {name: _row(one) for name, one in found.distortions.items()},
        "misses": misses,
        "distortions": list(found.distortions),
        "levels": sorted({row["level"] for row in misses if row["level"]}),
        "label_range": [low, high],
        "label_step": "any",
        "splits": [],
        "similarity": False,
    }
    return render_page("evaluation.html.j2", context, templates=Path(__file__).parent, sheets=[sheet], pictures=full)


def _worst(scored: pd.DataFrame) -> list[dict[str, Any]]:
    """Take the images whose scores, brought to the scale of opinions, are farthest from them."""
    order = np.argsort(-scored["miss"].abs().to_numpy(), kind="stable")[:_MISSES]
    columns = ["file_name", "group", "distortion", "level", "mos", "score", "expected", "miss"]
    rows: list[dict[str, Any]] = scored.iloc[order][columns].to_dict("records")  # type: ignore[assignment]
    return [{**row, "key": f"miss-{number}"} for number, row in enumerate(rows)]


def _task(row: Mapping[str, Any], rated: RatedImages, figures: Mapping[str, Any]) -> PictureTask | None:
    if figures["pixels"] == "regenerate" and rated.source is not None:
        condition = (row["distortion"], int(row["level"]))
        seed = recipe_seeds(rated.source.reference(row["group"]), figures["seed"], [condition])[0]
        anchor = rated.source.anchors[row["group"]]
        return PictureTask(row["key"], anchor, "", None, ((*condition, seed),), full=(0,), cell=LARGE)
    return PictureTask(row["key"], rated.root / row["file_name"], "", None, full=(0,), cell=LARGE)


def _facts(figures: Mapping[str, Any], found: Evaluation) -> list[tuple[str, str]]:
    made = "made from the anchors" if figures["pixels"] == "regenerate" else "read from disk"
    crops = f"{figures['crops']} crops each" if figures["crops"] else "covered whole"
    low, high = figures["mos_range"]
    return [
        ("Dataset", figures["dataset"]),
        ("Images", f"{found.pooled.metrics.images:,} of {found.contents:,} contents"),
        ("Missing", f"{figures['missing']:,} images" if figures["missing"] else "none"),
        ("Pixels", f"{made}, {crops}"),
        ("Opinions", f"{low:g} to {high:g}, {figures['scale']}"),
        ("Network", figures["checkpoint"]),
        ("Hash of its weights", str(figures["checkpoint_sha256"])[:16]),
        ("Seed", str(figures["seed"])),
    ]


def _text(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def _sentences(found: Evaluation, figures: Mapping[str, Any]) -> list[str]:
    pooled = found.pooled
    low, high = pooled.interval["srocc"]
    said = [f"Scores and opinions agree in their order with an SROCC of {_text(pooled.metrics.srocc)}"]
    said[0] += (
        f" (95 % interval {_text(low)} to {_text(high)}); 1 is perfect." if np.isfinite(low) else "; 1 is perfect."
    )
    if np.isfinite(pooled.metrics.rmse_fitted):
        scale = figures["mos_range"]
        said.append(
            f"Brought to the scale {scale[0]:g} to {scale[1]:g}, a score misses the mean opinion by "
            f"{pooled.metrics.rmse_fitted:.2f} (root mean square)."
        )
    simple = {name: one.pooled.metrics.srocc for name, one in found.baselines.items()}
    known = {name: value for name, value in simple.items() if np.isfinite(value)}
    if known:
        best = max(known, key=lambda name: known[name])
        said.append(f"The best of what takes no network, {TITLES[best]}, reaches {known[best]:.3f}.")
    return said


def _measure(name: str, found: Evaluation) -> dict[str, Any]:
    low, high = found.pooled.interval.get(name, (np.nan, np.nan))
    return {
        "title": _NAMES[name],
        "value": _text(getattr(found.pooled.metrics, name)),
        "interval": f"{_text(low)} – {_text(high)}" if np.isfinite(low) else "–",
        "median": _text(found.median[name]) if found.splits else "",
    }


def _row(one: MetricsAndIntervals) -> dict[str, str]:
    low, high = one.interval.get("srocc", (np.nan, np.nan))
    metrics = one.metrics
    return {
        "images": f"{metrics.images:,}",
        "srocc": _text(metrics.srocc),
        "interval": f"{_text(low)} – {_text(high)}" if np.isfinite(low) else "–",
        **{name: _text(getattr(metrics, name)) for name in ("plcc", "plcc_fitted", "rmse_fitted")},
    }


def _point(name: str, one: MetricsAndIntervals, strong: bool = False) -> Point | None:
    if not np.isfinite(one.metrics.srocc):
        return None
    bounds = one.interval.get("srocc", (np.nan, np.nan))
    low, high = bounds if np.isfinite(bounds[0]) else (None, None)
    return Point(name, one.metrics.srocc, low, high, strong)


def _points(named: Mapping[str, MetricsAndIntervals], strong: str = "") -> list[Point]:
    found = [_point(name, one, name == strong) for name, one in named.items()]
    return [point for point in found if point is not None]


def _against(lines: Mapping[str, MetricsAndIntervals]) -> Any:
    points = _points(lines, "this network")
    return intervals(points, "SROCC with the opinions (1 is perfect)", high=1.0) if points else None


def _by_distortion(found: Evaluation) -> Any:
    named = {name.replace("_", " "): one for name, one in found.distortions.items()}
    points = sorted(_points(named), key=lambda point: point.value)
    return intervals(points, "SROCC with the opinions (1 is perfect)", high=1.0) if points else None


def _scatter(scored: pd.DataFrame, found: Evaluation) -> Any:
    """Draw scores against opinions; of very many images, evenly chosen ones."""
    step = -(-len(scored) // _POINTS)
    shown = scored.iloc[::step]
    scores, mos = scored["score"].to_numpy(), scored["mos"].to_numpy()
    fit = found.pooled.metrics.fit
    places = np.linspace(scores.min(), scores.max(), 80)
    curve = list(zip(places.tolist(), fit(places).tolist(), strict=True)) if fit is not None else []
    series = {
        str(name): (rows["score"].tolist(), rows["mos"].tolist())
        for name, rows in shown.groupby("distortion", sort=False)
    }
    return scatter(
        series,
        "score of the network",
        "mean opinion score",
        _margins(scores),
        _margins(mos),
        curve,
        _same_scale(scores, mos),
    )


def _margins(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin


def _same_scale(scores: np.ndarray, mos: np.ndarray) -> bool:
    """Tell whether scores and opinions are on one scale, so that a diagonal says something."""
    span = max(scores.max(), mos.max()) - min(scores.min(), mos.min())
    return bool(span <= 2 * min(np.ptp(scores), np.ptp(mos)))
