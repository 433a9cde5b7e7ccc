"""Builds in the formats of other people's programs: a file a format, all of them in one table.

Whatever the format, an export is made by one pipeline: rows are read a shard at a time, cut into parts, written by
workers, and become visible when all is there.
"""

from glint_label.export.formats import FORMATS
from glint_label.export.pipeline import ExportReport, export_build

__all__ = ["FORMATS", "ExportReport", "export_build"]
