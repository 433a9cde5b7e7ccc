"""A web server on this machine that serves one file, and misbehaves as it is told to."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Misbehaviour = Callable[["Request", bytes], None]


class Site:
    """What is served, and what was asked for.

    Attributes:
        content: The file; it may be changed between two requests.
        version: Its ETag; empty: the server names none.
        faults: Taken from the front, one a request; when they are used up the server behaves.
        asked: The header Range of every request so far, empty where there was none.
    """

    def __init__(self, content: bytes, port: int) -> None:
        self.content = content
        self.version = "one"
        self.faults: list[Misbehaviour] = []
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{port}/data/file.zip"


class Request(BaseHTTPRequestHandler):
    """One request."""

    site: Site

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site = self.site
        site.asked.append(self.headers.get("Range", ""))
        fault = site.faults.pop(0) if site.faults else behave
        fault(self, site.content)
        self.close_connection = True

    def begin(self, status: int, **headers: object) -> None:
        """Send the status and the headers, underscores for hyphens."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if self.site.version:
            self.send_header("ETag", f'"{self.site.version}"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def behave(request: Request, content: bytes, upto: int | None = None) -> None:
    """Serve the file, or the part of it that is asked for; `upto` breaks the connection after so many bytes."""
    part = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    same = request.headers.get("If-Range", f'"{request.site.version}"') == f'"{request.site.version}"'
    start = int(part[1]) if part and same else 0
    if start >= len(content):
        request.begin(416, Content_Range=f"bytes */{len(content)}")
        return
    place = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
    request.begin(206 if start else 200, Content_Length=len(content) - start, **place)
    request.wfile.write(content[start:][:upto])


def breaks_after(count: int) -> Misbehaviour:
    """Break the connection after so many bytes."""
    return lambda request, content: behave(request, content, upto=count)


def answers(status: int, body: bytes = b"", **headers: object) -> Misbehaviour:
    """Answer with something else."""

    def answer(request: Request, content: bytes) -> None:
        request.begin(status, **headers)
        request.wfile.write(body)

    return answer


@contextmanager
def serve(content: bytes) -> Iterator[Site]:
    """Serve a file until the block is left."""

    class OfThisSite(Request):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), OfThisSite)
    server.daemon_threads = True
    OfThisSite.site = Site(content, server.server_port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield OfThisSite.site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
