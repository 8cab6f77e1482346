from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from browser import CHROMIUM, DESK, SEVEN, answer, draw, installed, watched
from playwright.sync_api import Page

from smidgen.errors import SmidgenError
from smidgen.serve import ADDRESS, MAX_CLIENTS, MAX_HEADER, serve

PAGE = "<!doctype html>\n" + "ä" * 50_000
POLICY = "default-src 'none'"
SERVE = (
    "from smidgen.serve import serve\n"
    f"serve({PAGE!r}, {POLICY!r}, 0, lambda url: print(url, flush=True))"
)


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is interrupted at the end, must leave with 0 and have printed no errors."""
    started = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A browser that opens nothing, and a pipe that is written to when it is full.
        env={**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": ""},
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        _, complaints = started.communicate(timeout=60)
    assert started.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert "xception" not in complaints


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a page that is served by another process."""
    with process("-c", SERVE) as serving:
        assert serving.stdout is not None
        yield int(serving.stdout.readline().strip().rstrip("/").rpartition(":")[2])


def ask(port: int, request: str) -> bytes:
    """All that is answered to the text of a request."""
    with socket.create_connection((ADDRESS, port), timeout=60) as client:
        client.sendall(request.encode())
        parts = []
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_the_command_serves_the_page_and_ends_quietly() -> None:
    code = "from smidgen.cli import main; main()"
    with process("-c", code, "serve", "--port", "0", "--json") as serving:
        assert serving.stdout is not None
        said = ""
        while not said.endswith("}\n") and (line := serving.stdout.readline()):
            said += line
        document = json.loads(said)
        assert document["url"].startswith(f"http://{ADDRESS}:")
        with urllib.request.urlopen(document["url"]) as answer:
            page = answer.read().decode()
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            policy = answer.headers["Content-Security-Policy"]
        assert page.startswith("<!doctype html>")
        stated = page.partition('Content-Security-Policy" content="')[2].partition('"')[0]
        assert policy == f"{stated}; frame-ancestors 'none'"
        assert all(name in page for name in document["models"])
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(document["url"] + "favicon.ico")


@pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")
def test_a_browser_runs_the_page_under_its_headers(page: Page) -> None:
    code = "from smidgen.cli import main; main()"
    with process("-c", code, "serve", "smidgen_8k", "--port", "0") as serving:
        assert serving.stdout is not None
        address = serving.stdout.readline().split(" at ")[1].split()[0]
        page.set_viewport_size(DESK)
        with watched(page, address):
            draw(page, SEVEN)
            assert answer(page) == "7"


def test_the_page_comes_with_headers_that_keep_it_apart(port: int) -> None:
    client = http.client.HTTPConnection(ADDRESS, port, timeout=60)
    client.request("GET", "/")
    answer = client.getresponse()
    assert (answer.status, answer.read().decode()) == (200, PAGE)
    assert answer.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


def test_head_is_the_header_alone(port: int) -> None:
    whole = ask(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    header = ask(port, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert header == whole[: len(header)]
    assert header.endswith(b"\r\n\r\n")
    assert f"\r\nContent-Length: {len(PAGE.encode())}\r\n".encode() in header


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("GET / HTTP/1.1\r\nHost: localhost", 200),
        ("GET / HTTP/1.1\r\nHOST:LocalHost:9999", 200),  # forwarded from another port
        ("GET / HTTP/1.0\r\nHost: 127.0.0.1:1", 200),
        ("GET / HTTP/1.1\r\nHost: evil.example:8000", 421),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example", 421),
        ("GET / HTTP/1.1\r\nHost: localhost.", 421),
        ("GET / HTTP/1.1\r\nHost:", 421),
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400),
        ("GET /", 400),
        ("", 400),
        ("\0\xff", 400),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost", 404),
        ("HEAD /x HTTP/1.1\r\nHost: localhost", 404),
        ("POST / HTTP/1.1\r\nHost: localhost", 405),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost", 405),
    ],
)
def test_only_the_page_is_answered_and_only_to_this_machine(
    port: int, request_: str, expected: int
) -> None:
    answer = ask(port, request_ + "\r\n\r\n")
    assert status(answer) == expected
    assert (PAGE.encode() in answer) == (expected == 200)
    assert (b"Allow: GET, HEAD\r\n" in answer) == (expected == 405)


def test_a_header_without_end_is_cut_off(port: int) -> None:
    request = "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 4 * MAX_HEADER + "\r\n\r\n"
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = ask(port, request)
    assert answer == b""


def test_slow_clients_and_those_that_leave_stop_nobody(port: int) -> None:
    """More clients that say nothing, or half a request, than are kept; others are answered."""
    with contextlib.ExitStack() as open_:
        for number in range(3 * MAX_CLIENTS):
            slow = open_.enter_context(socket.create_connection((ADDRESS, port), timeout=60))
            with contextlib.suppress(ConnectionError):
                slow.sendall(b"GET / HTTP/1.1\r\n"[: number % 17])

        def visit(number: int) -> int:
            with socket.create_connection((ADDRESS, port), timeout=60) as leaving:
                leaving.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return status(ask(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))

        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(visit, range(400))) == {200}


def test_a_slow_client_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smidgen.serve.TIMEOUT_S", 0.1)
    found: list[int] = []
    ready = threading.Event()

    def tell(url: str) -> None:
        found.append(int(url.rstrip("/").rpartition(":")[2]))
        ready.set()

    threading.Thread(target=serve, args=(PAGE, POLICY, 0, tell), daemon=True).start()
    assert ready.wait(60)
    assert ask(found[0], "GET / HTTP/1.1\r\n") == b""


def serve_in_a_thread(port: int) -> None:
    """Serves where the event loop of a browser's test, if there was one, is not running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(serve, PAGE, POLICY, port, lambda url: None).result(60)


def test_a_port_in_use_is_named_with_another() -> None:
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SmidgenError, match=rf"port {port} is in use; .* --port {port + 1}"):
            serve_in_a_thread(port)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(SmidgenError, match=f"port {port} is not from 0 to 65535"):
        serve_in_a_thread(port)
