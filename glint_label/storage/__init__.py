"""Object stores beside disks: `place_of` gives a pathlib.Path for a path and a `Stored`, its like, for an address.

`lease` is the lock of a folder there; what is written to a disk and to a store goes through `glint_label.files`.
"""

from glint_label.storage.places import is_stored, is_url, lies_in, place_of
from glint_label.storage.stored import Stored

__all__ = ["Stored", "is_stored", "is_url", "lies_in", "place_of"]
