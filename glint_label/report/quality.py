"""How good labels are, from audit.json: what each way of labelling is, three charts, and what they say in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from glint_label.report.charts import Mark, Point, Series, dots, intervals

_WAYS = {
    "random-anchor": "copy the ratings of any rated image",
    "cell-mean": "ignore what a photo shows: the mean of all ratings",
    "top1": "copy the ratings of the most similar image",
    "syndr": "the mean of up to five images of nearly the best similarity",
    "knn": "the weighted mean of the most similar images",
    "gp-content": "condition means and a Gaussian process over content",
    "gp": "condition means and a Gaussian process over content and visibility",
    "oracle": "the best single image, chosen by looking at the answer",
    "noise-ceiling": "a perfect label: only the noise of the ratings is left",
    "psnr": "a full-reference measure, mapped to ratings",
    "ssim": "a full-reference measure, mapped to ratings",
    "gmsd": "a full-reference measure, mapped to ratings",
    "vif": "a full-reference measure, mapped to ratings",
    "lpips-like": "distances of a network's maps, mapped to ratings",
    "dists-like": "structure of a network's maps, mapped to ratings",
}
_COMPARED = ("noise-ceiling", "top1", "cell-mean")  # with the build's own, in the chart by distortion
_STYLES = {"noise-ceiling": 3, "top1": 4, "cell-mean": 2}
_EXPECTED = 0.9  # share of ratings inside the interval
_HONEST = (0.87, 0.93)


def describe_quality(audit: Mapping[str, Any] | None, transfer: str) -> dict[str, Any] | None:
    """Describe the audit of a build for its report; None where there is none.

    Args:
        audit: audit.json.
        transfer: The build's own.
    """
    rows = (audit or {}).get("rows", [])
    own = next((row for row in rows if row["transfer"] == transfer), None)
    if audit is None or own is None or own["rmse"] is None:
        return None
    ranked = sorted((row for row in rows if row["rmse"] is not None), key=lambda row: row["rmse"])
    others = {row["transfer"]: row for row in ranked}
    table = [{**row, "way": _WAYS.get(row["transfer"], ""), "own": row is own} for row in ranked]
    names = [_plain(row["distortion"]) for row in own["by_distortion"]]
    return {
        "anchors": audit["anchors"],
        "own": own,
        "table": table,
        "sentences": _sentences(own, others),
        "errors": intervals(
            [
                Point(row["transfer"], row["rmse"], row["rmse_low"], row["rmse_high"], strong=row is own)
                for row in ranked
            ],
            "root mean square error of a label (0 is perfect)",
            low=0.0,
        ),
        "by_distortion": _chart_distortions(own, others, names),
        "coverage": _chart_coverage(own, names),
        "calibration": _calibration(own["coverage90"]),
        "by_similarity": own.get("by_similarity", []),
        "distortions": own["by_distortion"],
    }


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _sentences(own: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    said = [f"A label misses the mean score of the raters by {own['rmse']:.2f} (root mean square)."]
    blind, nearest, ceiling = (others.get(name) for name in ("cell-mean", "top1", "noise-ceiling"))
    if blind is not None and blind is not own:
        change = 1 - own["rmse"] / blind["rmse"]
        said.append(
            f"The mean rating of the same distortion and level, which ignores the photo, misses it by "
            f"{blind['rmse']:.2f}: these labels err {100 * abs(change):.0f} % {'less' if change > 0 else 'more'}."
        )
    if nearest is not None and nearest is not own:
        said.append(f"Copying the most similar rated image would miss it by {nearest['rmse']:.2f}.")
    if ceiling is not None:
        said.append(f"Even a perfect label would by {ceiling['rmse']:.2f}, the noise of the ratings themselves.")
    return said


def _calibration(coverage: float | None) -> str:
    if coverage is None:
        return "The labels claim no error, so there is nothing to check."
    share = f"{100 * coverage:.1f} % of the ratings that were left out lie inside the labels' 90 % interval"
    low, high = _HONEST
    if coverage < low:
        return f"{share}: the stated errors are too small, so allow for more."
    if coverage > high:
        return f"{share}: the stated errors are on the safe side."
    return f"{share}: the stated errors can be taken at their word."


def _chart_distortions(own: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Any:
    def values(row: Mapping[str, Any]) -> list[float | None]:
        found = {_plain(one["distortion"]): one["rmse"] for one in row["by_distortion"]}
        return [found.get(name) for name in names]

    series = [Series(f"{own['transfer']} (these labels)", values(own), style=1)]
    series += [
        Series(name, values(others[name]), style=_STYLES[name])
        for name in _COMPARED
        if name in others and others[name] is not own
    ]
    most = max((value for one in series for value in one.values if value is not None), default=1.0)
    chart = dots(names, series, "root mean square error of a label", 0.0, most * 1.03)
    return {"chart": chart, "legend": [(one.name, one.style) for one in series]}


def _chart_coverage(own: Mapping[str, Any], names: Sequence[str]) -> Any:
    shares = [row["coverage90"] for row in own["by_distortion"]]
    known = [share for share in shares if share is not None]
    if not known:
        return None
    series = [Series("inside the interval", shares, style=1)]
    low = min(0.8, *known)
    return dots(
        names, series, "share of ratings inside the 90 % interval", low - 0.02, 1.0, Mark(_EXPECTED, "as claimed")
    )
