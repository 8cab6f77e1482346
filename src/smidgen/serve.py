"""Serves a page on this machine's own address, 127.0.0.1."""

from __future__ import annotations

import errno
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from smidgen.errors import SmidgenError

ADDRESS = "127.0.0.1"


def serve(page: str, port: int, ready: Callable[[str], object]) -> None:
    """Serves the page until interrupted; `ready` is called with its address once it answers.

    Port 0 takes any that is free. Raises SmidgenError for a port that is in use or not allowed.
    """
    try:
        server = ThreadingHTTPServer((ADDRESS, port), _handler(page.encode()))
    except OverflowError:
        raise SmidgenError(f"port {port} is not from 0 to 65535; choose another --port") from None
    except OSError as problem:
        reason = "in use" if problem.errno == errno.EADDRINUSE else f"closed: {problem.strerror}"
        raise SmidgenError(f"port {port} is {reason}; choose another, --port {port + 1}") from None
    with server:
        ready(f"http://{ADDRESS}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _handler(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND, "there is one page here, /")
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Prints nothing for a request."""

    return Handler
