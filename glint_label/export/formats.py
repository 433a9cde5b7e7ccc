"""The table of formats: a new one is a file of its own and a line here."""

from glint_label.export.croissant import Croissant
from glint_label.export.format import Format
from glint_label.export.glintiqa import GlintIqa
from glint_label.export.imagefolder import ImageFolder
from glint_label.export.mds import Streaming
from glint_label.export.parquet import Parquet
from glint_label.export.pyiqa import Pyiqa
from glint_label.export.webdataset import WebDataset

_TABLE: tuple[Format, ...] = (
    Parquet(),
    ImageFolder(),
    WebDataset(),
    Streaming(),
    Pyiqa(),
    GlintIqa(),
    Croissant(),
)
FORMATS = {form.name: form for form in _TABLE}
