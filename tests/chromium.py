"""Drives a headless Chromium over its debugging pipe: opens a page, collects what it complains about and asks for."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_LIMIT_S = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Chromium:
    """A page of a running browser.

    Args:
        to_browser: a descriptor that takes its commands.
        from_browser: a descriptor that gives its answers and events.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._waiting = b""
        self._n_asked = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """Console messages, exceptions and what the browser itself logged."""
        self.requested: list[str] = []
        """Every URL that the page asked for, its own included."""

    def attach(self) -> None:
        """Open an empty page and listen to it."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to one command."""
        self._n_asked += 1
        message = {"id": self._n_asked, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._n_asked:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Load a page as a screen of this width shows it, and wait until it stands."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=url)
        deadline = time.monotonic() + START_LIMIT_S
        while self.value("document.readyState") != "complete":
            assert time.monotonic() < deadline, f"{url} does not load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """What an expression comes to in the page."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
        return result.get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            read = os.read(self._from, 2**16)
            assert read, "the browser is gone"
            self._waiting += read
        text, _, self._waiting = self._waiting.partition(b"\0")
        message = json.loads(text)
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params))
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
        return message


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """A browser with an empty profile in this folder."""
    assert PROGRAM is not None
    # It reads commands from descriptor 3 and writes answers to 4.
    read_3, write_3 = os.pipe()
    read_4, write_4 = os.pipe()
    command = f'exec "$0" "$@" 3<&{read_3} 4>&{write_4}'
    browser = subprocess.Popen(
        ["bash", "-c", command, PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(read_3, write_4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_3)
    os.close(write_4)
    try:
        page = Chromium(write_3, read_4)
        page.attach()
        yield page
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
        os.close(write_3)
        os.close(read_4)
