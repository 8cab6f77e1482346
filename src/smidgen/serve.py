"""Serves a page on this machine's own address, 127.0.0.1.

One page needs little of HTTP: a request is read up to the end of its header, answered, and the
connection closed. A client that is slow costs a socket and no thread, and not for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from http import HTTPStatus

from smidgen.errors import SmidgenError

ADDRESS = "127.0.0.1"
NAMES = {ADDRESS, "localhost"}  # by which a browser may ask for it, at any forwarded port
METHODS = ("GET", "HEAD")
MAX_CLIENTS = 128  # at a time; the one that came first makes room for another
MAX_HEADER = 16_384  # bytes
TIMEOUT_S = 10.0  # for a request to arrive, and for the answer to leave


def serve(page: str, policy: str, port: int, ready: Callable[[str], object]) -> None:
    """Serves the page until interrupted; `ready` is called with its address once it answers.

    `policy` is the page's Content-Security-Policy. Port 0 takes any that is free. Only requests to
    127.0.0.1 or localhost are answered with it, so that no other site can read it under a name of
    its own (DNS rebinding). Raises SmidgenError for a port that is in use or not allowed.
    """
    answers = _answers(page.encode(), policy)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(answers, port, ready))


async def _serve(
    answers: dict[HTTPStatus, tuple[bytes, bytes]], port: int, ready: Callable[[str], object]
) -> None:
    clients: dict[asyncio.StreamWriter, None] = {}  # in the order in which they came

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients[writer] = None
        if len(clients) > MAX_CLIENTS:
            next(iter(clients)).transport.abort()
        # A client may leave at any time, which is no news.
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(TIMEOUT_S):
                method, status = _judge(await reader.readuntil(b"\r\n\r\n"))
                header, body = answers[status]
                writer.write(header if method == "HEAD" else header + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        writer.transport.abort()
        del clients[writer]

    try:
        server = await asyncio.start_server(welcome, ADDRESS, port, limit=MAX_HEADER, backlog=512)
    except OverflowError:
        raise SmidgenError(f"port {port} is not from 0 to 65535; choose another --port") from None
    except OSError as problem:
        reason = "in use" if problem.errno == errno.EADDRINUSE else f"closed: {problem.strerror}"
        raise SmidgenError(f"port {port} is {reason}; choose another, --port {port + 1}") from None
    async with server:
        ready(f"http://{ADDRESS}:{server.sockets[0].getsockname()[1]}/")
        await server.serve_forever()


def _judge(request: bytes) -> tuple[str, HTTPStatus]:
    """The method of a request and how it is answered."""
    first, *lines = request.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    path, _, version = rest.partition(" ")
    fields = [line.partition(":") for line in lines if line]
    hosts = [value.strip().lower() for name, _, value in fields if name.lower() == "host"]
    if not version.startswith("HTTP/1.") or len(hosts) != 1:
        return method, HTTPStatus.BAD_REQUEST
    if hosts[0].partition(":")[0] not in NAMES:
        return method, HTTPStatus.MISDIRECTED_REQUEST
    if method not in METHODS:
        return method, HTTPStatus.METHOD_NOT_ALLOWED
    return method, HTTPStatus.OK if path == "/" else HTTPStatus.NOT_FOUND


def _answers(page: bytes, policy: str) -> dict[HTTPStatus, tuple[bytes, bytes]]:
    """The header and the body of each answer that there is."""
    told = {
        HTTPStatus.BAD_REQUEST: "this is no HTTP/1.1 request with one Host",
        HTTPStatus.NOT_FOUND: "there is one page here, /",
        HTTPStatus.METHOD_NOT_ALLOWED: "the page can be read, with GET or HEAD",
        HTTPStatus.MISDIRECTED_REQUEST: f"this page is at {ADDRESS} or localhost only",
    }
    answers = {status: (text + "\n").encode() for status, text in told.items()}
    return {
        status: (_header(status, policy, body), body)
        for status, body in [(HTTPStatus.OK, page), *answers.items()]
    }


def _header(status: HTTPStatus, policy: str, body: bytes) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"Content-Type: text/{'html' if status == HTTPStatus.OK else 'plain'}; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Content-Security-Policy: {policy}; frame-ancestors 'none'",
        "X-Frame-Options: DENY",
        "X-Content-Type-Options: nosniff",
        "Cross-Origin-Resource-Policy: same-origin",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(METHODS)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
