"""The charts of all reports. Their colours are classes of page.css, so that they follow light and dark.

Each is about 400 px wide, so that its letters stay readable on a phone, and says in words what it shows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from glint_label.report.svg import Frame, element, path

_WIDTH = 420.0
_LINE = 19.0  # px between two lines of names
_NAMES = 150.0  # px that names of lines take


@dataclass(frozen=True)
class Mark:
    """A value on the x axis that is pointed out in words."""

    value: float
    text: str


@dataclass(frozen=True)
class Point:
    """A value with its interval, in a line of its own.

    Attributes:
        name: Of the line.
        value: The figure.
        low, high: Ends of its interval; None where there is none.
        strong: Whether it is the one that the chart is about.
        group: The distortion that filters know it by; empty for none.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    strong: bool = False
    group: str = ""


@dataclass(frozen=True)
class Series:
    """Values that belong together.

    Attributes:
        name: For the legend.
        values: One for each line or step; None where there is none.
        at: Their places on the x axis, where they have one.
        style: 1..4, a colour of page.css.
    """

    name: str
    values: Sequence[float | None]
    at: Sequence[float] = ()
    style: int = 1


def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    title: str,
    what: str = "images",
    mark: Mark | None = None,
    name: str = "",
) -> Markup:
    """Draw counts as bars.

    Args:
        edges: Of the bins, one more than counts.
        counts: In each bin.
        title: Of the x axis.
        what: Is counted.
        mark: A value to point out.
        name: By which page.js finds the bars to redraw them; empty for bars that stay.
    """
    most = max([*counts, 1])
    frame = Frame.of(_WIDTH, 230, (edges[0], edges[-1]), (0, most), left=58, above=_above(mark))
    bars = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        left, right, top = frame.x(low), frame.x(high), frame.y(count)
        said = element("title", f"{low:g} to {high:g}: {count:,} {what}")
        bars.append(
            element(
                "rect",
                said,
                class_="bar",
                x=left + 0.5,
                width=max(0.5, right - left - 1),
                y=top,
                height=frame.y.start - top,
            )
        )
    label = f"Histogram of {title}: {sum(counts):,} {what}, most of them ({most:,}) in one bin of {len(counts)}."
    pointed = [_pointed(frame, mark)] if mark else []
    place = {
        "data_top": frame.y.end,
        "data_bottom": frame.y.start,
        "data_left": frame.x.start,
        "data_right": frame.x.end,
    }
    axis = element("g", frame.y_axis(f"number of {what}"), **(place if name else {}))
    drawn = [axis, frame.x_axis(title), element("g", *bars, data_bars=name or None)]
    return frame.close(label, *drawn, *pointed)


def _above(mark: Mark | None) -> float:
    """Leave room for what is said of a mark."""
    return 12.0 if mark is None else 24.0


def _pointed(frame: Frame, mark: Mark) -> Markup:
    at = frame.x(mark.value)
    share = (at - frame.x.start) / (frame.x.end - frame.x.start)
    anchor = "start" if share < 0.25 else "end" if share > 0.75 else "middle"
    return Markup("").join(
        (
            element("line", class_="mark", x1=at, x2=at, y1=frame.y.end - 4, y2=frame.y.start),
            element("text", mark.text, class_="said", x=at, y=frame.y.end - 9, text_anchor=anchor),
        )
    )


def levels(
    name: str,
    means: Mapping[int, float],
    spread: Mapping[int, float],
    error: Mapping[int, float],
    mos_range: tuple[float, float],
) -> Markup:
    """Draw a distortion's mean label over its levels, with the deviation over photos and the error of one label."""
    at = sorted(means)
    frame = Frame.of(190, 132, (at[0] - 0.4, at[-1] + 0.4), mos_range, left=34, below=34)
    upper = [(frame.x(level), frame.y(means[level] + spread[level])) for level in at]
    lower = [(frame.x(level), frame.y(means[level] - spread[level])) for level in reversed(at)]
    parts = [element("path", class_="area", d=f"{path([*upper, *lower])}Z")]
    for level in at:
        place = frame.x(level)
        ends = (frame.y(means[level] - error[level]), frame.y(means[level] + error[level]))
        parts.append(element("line", class_="whisker", x1=place, x2=place, y1=ends[0], y2=ends[1]))
    parts.append(element("path", class_="line s1", d=path([(frame.x(level), frame.y(means[level])) for level in at])))
    for level in at:
        said = element("title", f"level {level}: mean label {means[level]:.2f}, error {error[level]:.2f}")
        parts.append(element("circle", said, class_="dot s1", cx=frame.x(level), cy=frame.y(means[level]), r=2.6))
    words = ", ".join(f"{means[level]:.2f} at level {level}" for level in at)
    axes = (frame.y_axis("label", most=4), frame.x_axis("level", [float(level) for level in at]))
    return frame.close(f"{name}: mean label {words}.", *axes, *parts)


def intervals(points: Sequence[Point], title: str, low: float | None = None, high: float | None = None) -> Markup:
    """Draw figures with their intervals, one below the other."""
    ends = [
        value
        for one in points
        for value in (one.value, one.low, one.high)
        if value is not None and math.isfinite(value)
    ]
    span = (min(ends, default=0.0) if low is None else low, max(ends, default=1.0) if high is None else high)
    frame = Frame.of(_WIDTH, 52 + _LINE * len(points), span, (0, len(points)), left=_NAMES)
    parts = []
    for number, one in enumerate(points):
        y = frame.y.end + _LINE * (number + 0.5)
        inside = []
        if one.low is not None and one.high is not None:
            inside.append(element("line", class_="interval", x1=frame.x(one.low), x2=frame.x(one.high), y1=y, y2=y))
        words = f"{one.value:.3f}"
        if one.low is not None and one.high is not None:
            words += f" ({one.low:.3f} to {one.high:.3f})"
        inside.append(element("circle", element("title", f"{one.name}: {words}"), cx=frame.x(one.value), cy=y, r=4.0))
        parts.append(_named(one.name, y, one.strong))
        style = "point strong" if one.strong else "point"
        parts.append(element("g", *inside, class_=style))
    said = "; ".join(f"{one.name} {one.value:.3f}" for one in points)
    return frame.close(f"{title}: {said}.", frame.x_axis(title), *parts)


def _named(name: str, y: float, strong: bool = False) -> Markup:
    shown = name if len(name) <= 23 else f"{name[:22]}…"
    return element("text", shown, class_="name strong" if strong else "name", x=_NAMES - 8, y=y + 4, text_anchor="end")


def dots(
    names: Sequence[str], series: Sequence[Series], title: str, low: float, high: float, mark: Mark | None = None
) -> Markup:
    """Draw several figures of each name in its line."""
    above = _above(mark)
    frame = Frame.of(_WIDTH, 40 + above + _LINE * len(names), (low, high), (0, len(names)), left=_NAMES, above=above)
    parts = [_pointed(frame, mark)] if mark else []
    for number, name in enumerate(names):
        y = frame.y.end + _LINE * (number + 0.5)
        known = [frame.x(one.values[number]) for one in series if one.values[number] is not None]  # type: ignore[arg-type]
        if len(known) > 1:
            parts.append(element("line", class_="thread", x1=min(known), x2=max(known), y1=y, y2=y))
        for one in reversed(series):
            value = one.values[number]
            if value is not None:
                said = element("title", f"{name}, {one.name}: {value:.3f}")
                place = {"cx": frame.x(value), "cy": y}
                parts.append(element("circle", said, class_=f"dot s{one.style}", r=4.0, **place))
        parts.append(_named(name, y))
    label = (
        f"{title} of {len(names)} distortions for {', '.join(one.name for one in series)}; the table has the numbers."
    )
    return frame.close(label, frame.x_axis(title, most=5), *parts)


def scatter(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_title: str,
    y_title: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    curve: Sequence[tuple[float, float]] = (),
    diagonal: bool = False,
) -> Markup:
    """Draw points; each name's are one path, which filters can hide."""
    frame = Frame.of(_WIDTH, _WIDTH - 10, x_range, y_range, left=44)
    parts = []
    if diagonal:
        low, high = max(x_range[0], y_range[0]), min(x_range[1], y_range[1])
        ends = [(frame.x(low), frame.y(low)), (frame.x(high), frame.y(high))]
        parts.append(element("path", class_="diagonal", d=path(ends)))
    total = sum(len(xs) for xs, _ in series.values())
    for name, (xs, ys) in series.items():
        d = "".join(f"M{frame.x(x):.1f} {frame.y(y):.1f}h0" for x, y in zip(xs, ys, strict=True))
        style = "points few" if total < 500 else "points"
        parts.append(element("path", class_=style, d=d, data_distortion=name or None))
    if curve:
        parts.append(element("path", class_="line s2", d=path([(frame.x(x), frame.y(y)) for x, y in curve])))
    label = f"Scatter plot of {total:,} images: {y_title} over {x_title}."
    return frame.close(label, frame.y_axis(y_title), frame.x_axis(x_title), *parts)


def lines(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    y_range: tuple[float, float] | None = None,
    mark: Mark | None = None,
) -> Markup:
    """Draw curves over a common x axis."""
    places = [at for one in series for at in one.at]
    known = [value for one in series for value in one.values if value is not None]
    low, high = y_range or (min(known, default=0.0), max(known, default=1.0))
    if high == low:
        low, high = low - 0.5, high + 0.5
    ends = (min(places, default=0.0), max(places, default=1.0))
    frame = Frame.of(_WIDTH, 250, ends, (low, high), left=66, above=_above(mark))
    parts = [_pointed(frame, mark)] if mark else []
    for one in series:
        there = [(at, value) for at, value in zip(one.at, one.values, strict=True) if value is not None]
        placed = [(frame.x(at), frame.y(value)) for at, value in there]
        if placed:
            parts.append(element("path", class_=f"line s{one.style}", d=path(placed)))
        if len(placed) <= 40:
            for (at, value), (x, y) in zip(there, placed, strict=True):
                said = element("title", f"{one.name}, {x_title} {at:,.0f}: {value:.4g}")
                parts.append(element("circle", said, class_=f"dot s{one.style}", cx=x, cy=y, r=3.0))
    last = "; ".join(
        f"{one.name} ends at {one.values[-1]:.4g}" for one in series if one.values and one.values[-1] is not None
    )
    return frame.close(f"{y_title} over {x_title}: {last}.", frame.y_axis(y_title), frame.x_axis(x_title), *parts)
