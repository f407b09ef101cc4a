"""A server on loopback that answers the W&B client as far as it asks, and misbehaves as it is told.

`python tests/wandb_server.py FAULT` prints its URL, serves until stdin is closed, and then prints the rows that it
took. FAULT: none; slow, every answer comes after 30 s; dying, it is gone after its first rows.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("none", "slow", "dying")
SLOW = 30.0
"""Seconds before an answer of the slow server."""


class Server(ThreadingHTTPServer):
    """Takes rows until its fault shows. rows: what `run.log` was given, as it came."""

    daemon_threads = True

    def __init__(self, fault: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault, self.dead = fault, False
        self.rows: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.views: dict[str, dict[str, str]] | None = {}
        """Workspaces of every project by id; None: there is no such project."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """What WANDB_BASE_URL is to be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def die(self) -> None:
        """Is gone: whoever connects from now on is refused."""
        self.dead = True
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no news."""


@contextmanager
def served(fault: str) -> Iterator[Server]:
    """A server for a test."""
    server = Server(fault)
    try:
        yield server
    finally:
        if not server.dead:
            server.die()


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        if self.server.fault == "slow":
            time.sleep(SLOW)
        if self.server.dead:
            self.close_connection = True
            return
        if self.path.endswith("/graphql"):
            self._answer({"data": self._data(json.loads(body))})
        elif self.path.endswith("/file_stream"):
            self._take(json.loads(body))
        else:
            self._answer({})

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def _take(self, sent: dict[str, Any]) -> None:
        history = (sent.get("files") or {}).get("wandb-history.jsonl") or {}
        rows = [json.loads(line) for line in history.get("content", [])]
        self.server.rows += rows
        if rows and self.server.fault == "dying":
            threading.Thread(target=self.server.die, daemon=True).start()
            self.close_connection = True
            return
        self._answer({"exitcode": None, "limits": {}})

    def _data(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a GraphQL query or mutation, of which the client asks a handful."""
        query, variables = asked.get("query", ""), asked.get("variables") or {}
        if "upsertBucket" in query:
            name = variables.get("name") or "run"
            project = {"name": variables.get("project") or "project", "entity": {"name": "tester"}}
            bucket = {"id": "bucket", "name": name, "displayName": name, "config": "{}", "historyLineCount": 0}
            return {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}
        if "createRunFiles" in query:
            files = [
                {"name": one, "uploadUrl": f"{self.server.url}/upload/{one}"} for one in variables.get("files", [])
            ]
            return {"createRunFiles": {"runID": "bucket", "uploadHeaders": [], "files": files}}
        if "allViews" in query:
            edges = [{"node": view} for view in (self.server.views or {}).values()]
            return {"project": None if self.server.views is None else {"allViews": {"edges": edges}}}
        if "upsertView" in query and self.server.views is not None:
            key = variables.get("id") or f"view-{len(self.server.views)}"
            kept = {name: variables[name] for name in ("name", "displayName", "spec")}
            self.server.views[key] = {"id": key, **kept}
            return {"upsertView": {"view": self.server.views[key], "inserted": True}}
        return {
            "viewer": {"id": "viewer", "entity": "tester", "username": "tester", "flags": "{}", "teams": {"edges": []}},
            "serverInfo": {"features": []},
            "model": None,
        }

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


def main() -> None:
    """Serves until stdin is closed."""
    if sys.argv[1:] not in ([fault] for fault in FAULTS):
        raise SystemExit(__doc__)
    with served(sys.argv[1]) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        print(len(server.rows), flush=True)


if __name__ == "__main__":
    main()
