"""What is measured of a photo in one decode, full-reference features against its own distorted versions among it.

`photos` is that one decode, `features` the comparison (it imports torch), `anchors` the cache of the rated anchors'.
"""

from glint_label.visibility.anchors import features_version, measure_anchors
from glint_label.visibility.decode import DecodePhotos, DecodeTask

__all__ = ["DecodePhotos", "DecodeTask", "features_version", "measure_anchors"]
