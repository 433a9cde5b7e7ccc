"""SVG made by hand: elements whose text is escaped, scales with round ticks, a frame with two axes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

_MARGIN_TOP, _MARGIN_RIGHT = 8.0, 12.0
_BELOW = 38.0  # ticks and the title of the x axis


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Write an element.

    Args:
        tag: Its name.
        children: Text, which is escaped, or what this function returned, which is not.
        attributes: A trailing underscore is dropped, other underscores become hyphens; None leaves one out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(children)
    return Markup(f"<{tag}{written}>{inside}</{tag}>") if inside else Markup(f"<{tag}{written}/>")  # noqa: S704


def _text(value: object) -> str:
    return f"{round(value, 1):g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Scale:
    """A straight map from values to pixels.

    Attributes:
        low, high: Values at the ends.
        start, end: Pixels there.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Find a value's place; what lies outside is put at the end."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))

    def ticks(self, most: int = 6) -> list[float]:
        """Choose round values between the ends, `most` at most."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        raw = span / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Write a tick: 1,000 and 0.25, no needless zeros."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


@dataclass(frozen=True)
class Frame:
    """The area of a chart, with its axes.

    Attributes:
        width, height: Of the whole chart, px.
        left: Room for the labels of the y axis, px.
        x, y: Scales over the area inside.
    """

    width: float
    height: float
    left: float
    x: Scale
    y: Scale

    @classmethod
    def of(
        cls,
        width: float,
        height: float,
        x: tuple[float, float],
        y: tuple[float, float],
        left: float = 44.0,
        below: float = _BELOW,
        above: float = _MARGIN_TOP,
    ) -> "Frame":
        """Lay out a chart over these ranges."""
        return cls(
            width,
            height,
            left,
            Scale(*x, left, width - _MARGIN_RIGHT),
            Scale(*y, height - below, above),
        )

    def x_axis(self, title: str, ticks: Iterable[float] | Mapping[float, str] | None = None, most: int = 6) -> Markup:
        """Draw ticks, their grid and the title below."""
        marks = ticks if ticks is not None else self.x.ticks(most)
        named = marks if isinstance(marks, Mapping) else {value: tick_text(value) for value in marks}
        drawn = []
        for value, name in named.items():
            at = self.x(value)
            drawn.append(element("line", class_="grid", x1=at, x2=at, y1=self.y.end, y2=self.y.start))
            drawn.append(element("text", name, x=at, y=self.y.start + 15, text_anchor="middle"))
        middle = (self.x.start + self.x.end) / 2
        drawn.append(element("text", title, class_="title", x=middle, y=self.y.start + 31, text_anchor="middle"))
        return Markup("").join(drawn)

    def y_axis(self, title: str, ticks: Iterable[float] | None = None, most: int = 5) -> Markup:
        """Draw ticks, their grid and the title along the left edge."""
        drawn = []
        for value in ticks if ticks is not None else self.y.ticks(most):
            at = self.y(value)
            drawn.append(element("line", class_="grid", x1=self.x.start, x2=self.x.end, y1=at, y2=at))
            drawn.append(element("text", tick_text(value), x=self.x.start - 6, y=at + 4, text_anchor="end"))
        middle = (self.y.start + self.y.end) / 2
        turned = f"rotate(-90 11 {middle:.1f})"
        place = {"x": 11.0, "y": middle, "text_anchor": "middle", "transform": turned}
        drawn.append(element("text", title, class_="title", **place))
        return Markup("").join(drawn)

    def close(self, label: str, *children: str, class_: str = "chart") -> Markup:
        """Put the parts into one picture, with the words that a screen reader says."""
        return element(
            "svg",
            *children,
            class_=class_,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            aria_label=label,
        )


def path(points: Iterable[tuple[float, float]]) -> str:
    """Write the `d` of a line through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
