"""Firefox and WebKit by the WebDriver protocol (https://www.w3.org/TR/webdriver2), where Debian has
installed them: a function that sends a command and gives its value."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

FIREFOX, WEBKIT, SCREEN = "firefox-esr", "WebKitWebDriver", "Xvfb"
MINI_BROWSER = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"
PATIENCE_S = 60  # until a browser has started
NAMES = {  # of commands in Firefox's own protocol, Marionette
    "url": "WebDriver:Navigate",
    "execute/sync": "WebDriver:ExecuteScript",
    "execute/async": "WebDriver:ExecuteAsyncScript",
    "actions": "WebDriver:PerformActions",
    "window/rect": "WebDriver:SetWindowRect",
}
Send = Callable[[str, dict[str, Any]], Any]


def missing(browser: str) -> str:
    """Which program a browser lacks here; empty where it has all."""
    programs = {"firefox": [FIREFOX], "webkit": [WEBKIT, SCREEN, MINI_BROWSER]}[browser]
    return ", ".join(program for program in programs if shutil.which(program) is None)


@contextmanager
def firefox(folder: Path) -> Iterator[Send]:
    """Firefox without a window, its profile in an empty folder."""
    (folder / "user.js").write_text('user_pref("marionette.port", 0);\n', "utf-8")
    command = [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    with _running(command, {"HOME": str(folder)}), _connected(folder) as connection:
        stream = connection.makefile("rb")
        _receive(stream)  # its greeting

        def send(command: str, body: dict[str, Any]) -> Any:
            message = json.dumps([0, 1, NAMES.get(command, command), body]).encode()
            connection.sendall(b"%d:%s" % (len(message), message))
            _, _, problem, value = _receive(stream)
            assert problem is None, problem
            return value["value"] if isinstance(value, dict) and "value" in value else value

        send("WebDriver:NewSession", {})
        yield send


@contextmanager
def webkit(folder: Path) -> Iterator[Send]:
    """WebKitGTK's small browser, on a screen in memory."""
    port, display = _free_port(), f":{90 + _free_port() % 900}"
    driver = [WEBKIT, f"--port={port}", "--host=127.0.0.1"]
    here = {"DISPLAY": display, "HOME": str(folder)}
    with _running([SCREEN, display, "-screen", "0", "1600x1200x24"], {}), _running(driver, here):
        base = f"http://127.0.0.1:{port}/session"

        def post(address: str, body: dict[str, Any]) -> Any:
            data = json.dumps(body).encode()
            with urlopen(Request(address, data, {"Content-Type": "application/json"})) as answer:
                return json.load(answer)["value"]

        options = {"binary": MINI_BROWSER, "args": ["--automation"]}
        wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
        session = _patiently(lambda: post(base, wanted))["sessionId"]
        yield lambda command, body: post(f"{base}/{session}/{command}", body)


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    variables = {"PATH": "/usr/bin:/bin", **environment}
    with subprocess.Popen(command, env=variables, **quiet) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def _connected(profile: Path) -> Iterator[socket.socket]:
    """A connection to the Firefox that writes its port into the profile."""
    port = _patiently(lambda: int((profile / "MarionetteActivePort").read_text("utf-8")))
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        yield connection


def _receive(stream: Any) -> Any:
    size = b""
    while not size.endswith(b":"):
        size += stream.read(1)
    return json.loads(stream.read(int(size[:-1])))


def _patiently(ask: Callable[[], Any]) -> Any:
    """What `ask` gives once it no longer fails."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
