"""A web server on loopback that counts what it sends, knows ranges or not, and can be slow or break off."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Web(ThreadingHTTPServer):
    """Serves `contents` by path. pace: bytes a second, 0 for no limit. ranges: whether it knows them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, bytes] = {}
        self.ranges, self.pace, self.delay = True, 0, 0.0
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent = 0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def gets(self, path: str) -> list[str | None]:
        """The ranges of the requests for a file, None for all of it."""
        return [wanted for method, name, wanted in self.requests if method == "GET" and name == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web  # pyright: ignore[reportIncompatibleVariableOverride]

    def _answer(self, with_content: bool) -> None:
        path, wanted = self.path.lstrip("/").partition("?")[0], self.headers.get("Range")
        self.server.requests.append((self.command, path, wanted))
        time.sleep(self.server.delay)
        content = self.server.contents.get(path)
        if content is None:
            return self.send_error(404)
        start, stop = 0, len(content)
        if wanted and self.server.ranges:
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()  # type: ignore[union-attr]
            start, stop = int(first), min(stop, int(last) + 1 if last else stop)
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if wanted and self.server.ranges else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:12]}"')
        self.end_headers()
        if with_content:
            self._send(content[start:stop])

    def _send(self, content: bytes) -> None:
        step = self.server.pace // 20 or len(content)
        try:
            for begin in range(0, len(content), max(1, step)):
                self.wfile.write(content[begin : begin + step])
                self.server.sent += len(content[begin : begin + step])
                time.sleep(0.05 if self.server.pace else 0)
        except (BrokenPipeError, ConnectionResetError):
            return

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


def serve(folder: Path) -> None:
    """Serves the files of a folder until the process ends, after a line with the URL on stdout."""
    with Web() as server:
        server.contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        print(server.url().rstrip("/"), flush=True)
        server.serve_forever()


@contextmanager
def web() -> Iterator[Web]:
    """A running server. Its address needs no proxy."""
    with pytest.MonkeyPatch.context() as patch, Web() as server:
        patch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
