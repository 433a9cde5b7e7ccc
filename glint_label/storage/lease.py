"""The lock of a folder in an object store, which has none: an object that says who writes there, renewed as he does.

It is a courtesy, not what keeps the data whole: every object is uploaded whole, the same command makes the same bytes,
and nothing is believed whose size or hash is not that of its `_SUCCESS.json`. So two that write at once, which a lock
cannot rule out where machines lose sight of one another, do each other's work and end in the same bytes.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from glint_label.errors import GlintError, StateError
from glint_label.storage.stored import Stored

_LOG = logging.getLogger(__name__)

RENEWED = 20.0  # seconds from one renewal to the next
EXPIRES = 120.0  # seconds without one, then its owner is taken for dead
_AHEAD = 300.0  # seconds that the store's clock may be ahead of ours before we say so

# Of the leases that this process holds: one of its own number that is not among them is of a process before it, as
# the first one in a container is always number 1.
_held: set[str] = set()


@contextmanager
def hold_lease(place: Stored, folder: Stored, option: str = "--out") -> Iterator[None]:
    """Keep other commands out of a folder while the block lasts.

    A lease that somebody else holds is taken over where its owner is known to be dead: it ran on this machine and its
    process is gone, or it has not been renewed for two minutes.

    Args:
        place: The object.
        folder: What it is the lock of, for the error.
        option: Where the folder comes from, for the error.

    Raises:
        StateError: Another one is writing there, and which.
        StorageError: The store cannot be used.
    """
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": (token := secrets.token_hex(8))}
    content = (json.dumps(owner) + "\n").encode()
    _take(place, content, folder, option)
    _held.add(token)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(place, owner, content, ended), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        _held.discard(token)
        # Where it cannot be deleted it expires; what the block ended with must not be hidden by that.
        with suppress(GlintError, OSError):
            if _read(place) == owner:
                place.unlink(missing_ok=True)


def _take(place: Stored, content: bytes, folder: Stored, option: str) -> None:
    _refuse_if_held(place, folder, option)  # some stores overwrite where they should only create
    try:
        place.write_bytes(content, new=True)
    except FileExistsError:
        _refuse_if_held(place, folder, option)
        place.write_bytes(content)
    if _read(place) != json.loads(content):
        _refuse_if_held(place, folder, option)


def _refuse_if_held(place: Stored, folder: Stored, option: str) -> None:
    holder, age = _read(place), _age(place)
    if _is_dead(holder, age):
        return
    raise StateError(
        f"{folder}: process {holder.get('pid')} on {holder.get('host')} is writing here, last seen "
        f"{max(0, round(age))} s ago; wait for it to finish or choose another {option}. If it was killed, this "
        f"command goes on in {max(1, round(EXPIRES - age))} s, or at once if you delete {place}"
    )


def _is_dead(holder: dict[str, Any], age: float) -> bool:
    if not holder or age > EXPIRES:  # none of ours: gone meanwhile, or the empty lock of a folder copied from a disk
        return True
    if holder.get("host") != socket.gethostname() or not isinstance(pid := holder.get("pid"), int):
        return False
    if pid == os.getpid():
        return holder.get("token") not in _held
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _age(place: Stored) -> float:
    """Tell how many seconds ago it was renewed; a store that speaks S3 refuses clocks that are far from its own."""
    try:
        age = time.time() - place.stat().st_mtime_ns / 1e9
    except FileNotFoundError:  # just deleted
        return EXPIRES + 1
    if age < -_AHEAD:
        _LOG.warning("%s: was renewed %.0f s in the future; set this machine's clock", place, -age)
    return age


def _read(place: Stored) -> dict[str, Any]:
    try:
        found = json.loads(place.read_bytes(4096))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _renew(place: Stored, owner: dict[str, Any], content: bytes, ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        try:
            if (found := _read(place)) not in (owner, {}):
                _LOG.warning(
                    "%s: process %s on %s has taken it over; both write the same, so nothing is lost",
                    place, found.get("pid"), found.get("host"),
                )  # fmt: skip
                return
            place.write_bytes(content)
        except GlintError as error:
            _LOG.warning("%s: cannot be renewed (%s)", place, error)
