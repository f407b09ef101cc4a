"""Headless Chromium for tests of pages: without a network, and with everything that goes wrong written down."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root without a sandbox; the others keep the browser from looking for its maker's servers."""


def chromium() -> str:
    """The path of a Chromium; skips the test where there is none."""
    given = os.environ.get("GANDIST_CHROMIUM")
    found = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (apt install chromium, or name one in GANDIST_CHROMIUM)")
    return found


@dataclass
class Tab:
    """A page that was opened from a file. requests: what it asked for besides itself and data it holds."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    with api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield running
        finally:
            running.close()


@contextmanager
def opened(running: Any, file: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Tab]:
    """The file as a tab of that size, offline."""
    context = running.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
    )
    try:
        tab = Tab(context.new_page())
        tab.page.on("console", lambda message: message.type in ("error", "warning") and tab.errors.append(message.text))
        tab.page.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.page.on("dialog", lambda dialog: (tab.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        start = file.resolve().as_uri()
        tab.page.on("request", lambda asked: _own(asked.url, start) or tab.requests.append(asked.url))
        tab.page.goto(start)
        yield tab
    finally:
        context.close()


def _own(url: str, start: str) -> bool:
    return url.partition("#")[0] == start or url.startswith("data:")
