"""An S3 server on this machine, and what lies in its buckets."""

import logging
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from glint_label.storage import Stored, place_of

_NUMBERS = count()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Start a server and name it in the environment, which worker processes inherit; returns its address."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "tester")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield address
    server.stop()


@pytest.fixture
def make_bucket(s3: str) -> Callable[[str], Stored]:
    """Make an empty bucket of a name."""

    def make(name: str) -> Stored:
        with urlopen(Request(f"{s3}/{name}", method="PUT")):
            return place_of(f"s3://{name}")

    return make


@pytest.fixture
def bucket(make_bucket: Callable[[str], Stored]) -> Stored:
    """A new, empty bucket."""
    return make_bucket(f"bucket-{next(_NUMBERS)}")


def upload(folder: Path, place: Stored) -> Stored:
    """Copy all files below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (place / path.relative_to(folder)).write_bytes(path.read_bytes())
    return place


def object_bytes(place: Stored) -> dict[str, bytes]:
    """Read every object of a build but run.json and the lock, as `file_bytes` does on a disk."""
    return {
        name: (place / name).read_bytes()
        for name in sorted(place.sizes())
        if name.rsplit("/")[-1] not in ("run.json", ".lock")
    }
