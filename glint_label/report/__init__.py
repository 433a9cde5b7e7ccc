"""The visual report: one HTML file that needs nothing else, with its charts and pictures inside it.

The pieces that every report is made of (page, charts, sprites) and the report of a build, which sums shards up in
Python: what goes into the file are counts and a few samples, never rows.
"""

from glint_label.report.charts import Mark, Point, Series, dots, histogram, intervals, levels, lines, scatter
from glint_label.report.dataset import report_build
from glint_label.report.page import Picture, check_target, render_page, write_page
from glint_label.report.sprites import Sprites, Thumbnail, encode_full, shrink

__all__ = [
    "Mark",
    "Picture",
    "Point",
    "Series",
    "Sprites",
    "Thumbnail",
    "check_target",
    "dots",
    "encode_full",
    "histogram",
    "intervals",
    "levels",
    "lines",
    "render_page",
    "report_build",
    "scatter",
    "shrink",
    "write_page",
]
