from __future__ import annotations

import errno
import gzip
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from idx_files import NAMES, digests, small_set

from smidgen.data import download, load_data, published
from smidgen.errors import DataError
from smidgen.mnist import GLYPH

FILES = small_set(classes=10, train=40, test=20)
GOOD = {f"/good/{name}.gz": gzip.compress(content) for name, content in FILES.items()}
BAD = {f"/bad/{name}.gz": gzip.compress(content[:-1]) for name, content in FILES.items()}


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        content = {**GOOD, **BAD}.get(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()

    def do_GET(self) -> None:
        self.server.counter[self.path] += 1
        self.do_HEAD()
        self.wfile.write({**GOOD, **BAD}.get(self.path, b""))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A mirror on this machine: /good/ has the files, /bad/ truncated ones; counts the GETs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.counter = Counter()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def publish(monkeypatch: pytest.MonkeyPatch, port: int, *paths: str, seconds: float = 5.0) -> None:
    """Makes "mnist" the small set, on the mirrors with these paths; asks for so many seconds."""
    mirrors = tuple(f"http://127.0.0.1:{port}/{path}/" for path in paths)
    small = published.Published("MNIST", tuple("0123456789"), GLYPH, mirrors, digests(FILES))
    monkeypatch.setitem(published.PUBLISHED, "mnist", small)
    monkeypatch.setattr(download, "ANSWER_TIMEOUT_S", seconds)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {".lock"}


def test_absent_files_are_downloaded_once(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    for _ in range(2):
        data = load_data("mnist", tmp_path)
        assert (len(data.train), len(data.test)) == (40, 20)
        assert left_in(tmp_path) == {f"{name}.gz" for name in NAMES}
    assert server.counter == Counter(GOOD.keys())


def test_a_mirror_that_lacks_or_damages_files_is_passed_over(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "missing", "bad", "good")
    assert len(load_data("mnist", tmp_path).train) == 40
    assert left_in(tmp_path) == {f"{name}.gz" for name in NAMES}


def test_files_that_are_there_are_not_downloaded_again(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / NAMES[0]).write_bytes(FILES[NAMES[0]])
    load_data("mnist", tmp_path)
    assert server.counter == Counter(list(GOOD)[1:])


def test_what_a_killed_download_left_is_removed(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    part = tmp_path / "MNIST" / "raw" / ".download-x7f2" / NAMES[0]
    part.parent.mkdir(parents=True)
    part.write_bytes(FILES[NAMES[0]][:100])
    load_data("mnist", tmp_path)
    assert left_in(tmp_path) == {f"{name}.gz" for name in NAMES}


def test_wrong_content_everywhere_is_refused_and_leaves_nothing(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "bad", "bad")
    with pytest.raises(DataError, match=r"127.0.0.1 gave another content, .* try again later"):
        load_data("mnist", tmp_path)
    assert left_in(tmp_path) == set()


def test_processes_that_start_together_download_once(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    sizes = []
    # The lock is taken anew by every call, so that threads meet as processes would.
    threads = [
        threading.Thread(target=lambda: sizes.append(len(load_data("mnist", tmp_path).train)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [40] * 4
    assert server.counter == Counter(GOOD.keys())


def test_without_download_nothing_is_asked(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    with pytest.raises(DataError, match="'mnist' is not on this machine; run `smidgen data mnist`"):
        load_data("mnist", tmp_path, download=False)
    assert server.counter == Counter()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_connection_is_one_line(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # nobody listens there once it is closed
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    publish(monkeypatch, port, "a", "b")
    with pytest.raises(DataError, match=r"^cannot download: none of .* answers; .*$") as caught:
        load_data("mnist", tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_swallows_everything_is_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, never answers
        publish(monkeypatch, listener.getsockname()[1], "a", "b", "c", seconds=0.3)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"none of .* answers"):
            load_data("mnist", tmp_path)
        assert time.monotonic() - start < 2
        time.sleep(0.3)  # the threads that asked end by their own timeout, before the socket closes


def test_a_folder_that_cannot_be_made_is_refused(server, tmp_path, monkeypatch):
    publish(monkeypatch, server.server_port, "good")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write to .*name another folder with --data-dir"):
        load_data("mnist", tmp_path / "file")


def test_a_full_disk_is_refused_and_leaves_nothing(server, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    publish(monkeypatch, server.server_port, "good")
    monkeypatch.setattr(download.os, "replace", full)
    with pytest.raises(DataError, match="No space left on device; make room"):
        load_data("mnist", tmp_path)
    assert left_in(tmp_path) == set()
