"""A browser without a window, spoken to as WebDriver says (https://www.w3.org/TR/webdriver2/): no package is needed."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
_FLAGS += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]


class Browser:
    """One session: pages are got, looked at by scripts, and all that they asked for and complained of is known."""

    def __init__(self, address: str, profile: Path) -> None:
        self._session = address + "/session"
        options = {"args": [*_FLAGS, f"--user-data-dir={profile}"], "binary": BROWSER}
        logged = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logged}
        self._session += "/" + self._ask("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def _ask(self, place: str, content: dict[str, Any]) -> Any:
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._session + place, json.dumps(content).encode(), head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def show(self, address: str, width: int = 1280, height: int = 900) -> None:
        """Get a page in a window of that size, without what was stored by pages before."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        self._ask("/url", {"url": address})

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script of the page, and return what it returns."""
        return self._ask("/execute/sync", {"script": script, "args": arguments})

    def wait(self, script: str, *arguments: object, seconds: float = 20) -> Any:
        """Run a script until it returns what is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < end, f"waited {seconds} s for: {script}"
            time.sleep(0.1)
        return found

    def complaints(self) -> list[str]:
        """Return what came to the console since it was asked last."""
        return [entry["message"] for entry in self._ask("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since it was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self._ask("/se/log", {"type": "performance"})]
        return [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the browser."""
        with urllib.request.urlopen(urllib.request.Request(self._session, method="DELETE"), timeout=60):
            pass


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is in a folder, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([DRIVER or "", f"--port={port}"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            started = any("started successfully" in line for line in driver.stdout)
            assert started, "chromedriver did not start"
            session = Browser(f"http://127.0.0.1:{port}", folder / "profile")
            try:
                yield session
            finally:
                session.close()
        finally:
            driver.kill()
