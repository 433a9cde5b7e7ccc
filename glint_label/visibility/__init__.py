"""What is measured of a photo in one decode, full-reference features against its own distorted versions among it.

`decode` is that one decode, `features` the comparison (it imports torch), `levels` which of them a photo needs,
`anchors` the cache of the rated anchors'.
"""

from glint_label.visibility.anchors import features_version, measure_anchors
from glint_label.visibility.decode import DecodePhotos, DecodeTask
from glint_label.visibility.levels import draw_between

__all__ = ["DecodePhotos", "DecodeTask", "draw_between", "features_version", "measure_anchors"]
