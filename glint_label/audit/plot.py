"""The audit as a picture: labels against ratings, and the error of each distortion beside the baselines'."""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glint_label.audit.agreement import HALF_WIDTH, by_distortion
from glint_label.audit.report import Audit, Predictions
from glint_label.files import write_atomic

_COMPARED = ("random-anchor", "cell-mean", "top1", "knn", "gp-content", "gp", "noise-ceiling")


def write_audit(report: Audit, folder: Path) -> None:
    """Write audit.json and audit.png."""
    write_atomic(folder / "audit.json", report.as_json())
    write_atomic(folder / "audit.png", plot_audit(report))


def plot_audit(report: Audit) -> bytes:
    """Draw the transfer with the smallest error; PNG.

    Left: its labels against the ratings. Middle: RMSE per distortion, with those of the others. Right: share of
    ratings inside the predicted 90 % interval, per distortion.
    """
    tried = [one for one in report.predictions if np.isfinite(one.mos_error).any()] or [report.predictions[0]]
    best = min(tried, key=lambda one: float(np.nanmean((one.mos - report.scores) ** 2)))
    figure = Figure(figsize=(16, 7.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.6))
    _scatter(left, report, best)
    _errors(middle, report, best)
    _coverage(right, report, best)
    right.set_ylim(middle.get_ylim())
    figure.suptitle(f"{report.source}: {len(report.anchors)} anchors, each labelled from the others")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _title(one: Predictions) -> str:
    return one.transfer if one.embedder == "none" else f"{one.transfer}, {one.embedder}"


def _scatter(axes: Axes, report: Audit, best: Predictions) -> None:
    rated = np.isfinite(report.scores)
    row = report.table[(report.table["transfer"] == best.transfer) & (report.table["embedder"] == best.embedder)].iloc[
        0
    ]
    axes.scatter(best.mos[rated], report.scores[rated], s=4, alpha=0.25, linewidths=0)
    low, high = float(np.nanmin(report.scores)), float(np.nanmax(report.scores))
    line = np.array([low, high])
    half = HALF_WIDTH * row["mean_error"]
    axes.plot(line, line, color="black", linewidth=1)
    axes.fill_between(line, line - half, line + half, color="black", alpha=0.08, label="mean 90 % interval")
    axes.set(xlabel="label, this anchor left out", ylabel="rating (MOS)", xlim=(low, high), ylim=(low, high))
    axes.set_title(f"{_title(best)}\nSROCC {row['srocc']:.3f}, RMSE {row['rmse']:.3f}")
    axes.set_aspect("equal")
    axes.legend(loc="upper left")


def _errors(axes: Axes, report: Audit, best: Predictions) -> None:
    shown = [one for name in _COMPARED for one in report.predictions if one.transfer == name]
    names: list[str] = []
    for one in {id(one): one for one in [*shown, best]}.values():
        table = by_distortion(report.scores, one.mos, one.mos_error, report.conditions)
        names = [row["distortion"] for row in table]
        errors = [row["rmse"] if row["rmse"] is not None else np.nan for row in table]
        axes.plot(errors, range(len(names)), marker="o", markersize=4, linewidth=1, label=_title(one))
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="RMSE of the labels, on the scale of the ratings", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")


def _coverage(axes: Axes, report: Audit, best: Predictions) -> None:
    table = by_distortion(report.scores, best.mos, best.mos_error, report.conditions)
    axes.barh(range(len(table)), [row["coverage90"] or 0 for row in table])
    axes.axvline(0.9, color="black", linewidth=1)
    axes.set_yticks(range(len(table)), ["" for _ in table])
    axes.set(xlim=(0.5, 1), xlabel="share of ratings inside the 90 % interval")
