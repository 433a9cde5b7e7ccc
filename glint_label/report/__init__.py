"""The visual report: one HTML file that needs nothing else, with its charts and pictures inside it.

The pieces that every report is made of (page, charts, sprites) and the report of a build, which sums shards up in
Python: what goes into the file are counts and a few samples, never rows.
"""

from glint_label.report.charts import Mark, Point, Series, dots, histogram, intervals, lines, scatter
from glint_label.report.dataset import report_build
from glint_label.report.page import Picture, check_target, render_page, write_page
from glint_label.report.pictures import LARGE, PictureTask, illustrate
from glint_label.report.sprites import Sprites, Thumbnail

__all__ = [
    "LARGE",
    "Mark",
    "Picture",
    "PictureTask",
    "Point",
    "Series",
    "Sprites",
    "Thumbnail",
    "check_target",
    "dots",
    "histogram",
    "illustrate",
    "intervals",
    "lines",
    "render_page",
    "report_build",
    "scatter",
    "write_page",
]
