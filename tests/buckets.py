"""An S3-compatible server on loopback, and a proxy in front of it that fails as real storage does now and then."""

from __future__ import annotations

import http.client
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import boto3
import pytest
from moto.server import ThreadedMotoServer

NAME = "bucket"
_HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")


class Bucket:
    """A bucket of a server at 127.0.0.1, and what lies in it."""

    def __init__(self, port: int):
        self.port = port
        self._client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        self._client.create_bucket(Bucket=NAME)

    def url(self, path: str, port: int | None = None) -> str:
        """The URL of a folder in it. port: of a proxy."""
        return f"s3://{NAME}/{path}?endpoint_override=127.0.0.1:{port or self.port}&scheme=http&region=us-east-1"

    def names(self, under: str = "") -> list[str]:
        """The files below a folder, by names relative to it."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix=under)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key[len(under) :].lstrip("/") for key in keys if not key.endswith("/")]

    def read(self, name: str) -> bytes:
        return self._client.get_object(Bucket=NAME, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=NAME, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=NAME, Key=name)


@contextmanager
def bucket() -> Iterator[Bucket]:
    """A fresh server with one bucket. Its credentials are in this process's environment and its children's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            yield Bucket(server.get_host_and_port()[1])
        finally:
            server.stop()


class _Flaky(BaseHTTPRequestHandler):
    """Passes two requests on and fails the third, each time in another way."""

    protocol_version = "HTTP/1.1"
    behind: ClassVar[int]
    requests: ClassVar[Iterator[int]]
    # The client's library tries again after the first three; the fourth it passes on to its user.
    faults: ClassVar[Iterator[int | None]]
    failed: ClassVar[list[int | None]]

    def handle_one(self) -> None:
        body = self._body()
        if next(self.requests) % 3 == 2:
            fault = next(self.faults)
            self.failed.append(fault)
            if fault is None:
                self.close_connection = True
            else:
                self._answer(fault, {}, b"")
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in (*_HOP_BY_HOP, "expect")}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content, length = answer.read(), answer.headers.get("Content-Length")
        self._answer(answer.status, dict(answer.headers), content, length if self.command == "HEAD" else None)
        connection.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def flaky(behind: Bucket) -> Iterator[tuple[int, list[int | None]]]:
    """The port of a proxy in front of a bucket that fails every third request, and how each was failed so far."""
    failed: list[int | None] = []
    state = {
        "behind": behind.port,
        "requests": itertools.count(),
        "faults": itertools.cycle((503, None, 500, 403)),
        "failed": failed,
        **{f"do_{method}": _Flaky.handle_one for method in ("GET", "PUT", "POST", "DELETE", "HEAD")},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Flaky", (_Flaky,), state))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], failed
    finally:
        server.shutdown()
        server.server_close()
