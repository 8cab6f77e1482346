"""What `smidgen serve` does under load: 10,000 requests of 50 clients while 300 slow ones hold on.

    python benchmarks/serve.py

All of it on this machine's own address. The slow clients send a byte of a request each second, and
connect again where they are cut off. Prints how many requests were answered with the whole page,
how long they took, and what the server needed; docs/reliability.md has the figures.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SLOW, CLIENTS, REQUESTS = 300, 50, 10_000
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def main() -> None:
    command = [sys.executable, "-m", "smidgen", "serve", "--port", "0"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"BROWSER": "true"}
    )
    assert server.stdout is not None
    address = ""
    while not (found := re.search(r"http://([0-9.]+):([0-9]+)/", address)):
        address += server.stdout.readline()
    place = (found[1], int(found[2]))
    done = threading.Event()
    slow = [threading.Thread(target=dawdle, args=(place, done)) for _ in range(SLOW)]
    for thread in slow:
        thread.start()
    size = len(fetch(place)[1])
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda _: fetch(place), range(REQUESTS)))
    seconds = time.perf_counter() - started
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    done.set()
    for thread in slow:
        thread.join()
    server.send_signal(signal.SIGINT)
    times = sorted(time_s for time_s, _ in answers)
    whole = sum(len(answer) == size for _, answer in answers)
    print(f"{whole:,} of {REQUESTS:,} requests answered whole, {size:,} bytes each")
    print(f"{seconds:.1f} s, {REQUESTS / seconds:,.0f} requests a second")
    print(f"median {times[REQUESTS // 2] * 1e3:.0f} ms, slowest {times[-1] * 1e3:.0f} ms")
    print(*re.findall(r"(?:VmHWM|Threads).*", status), f"exit code {server.wait(30)}", sep="; ")


def fetch(place: tuple[str, int]) -> tuple[float, bytes]:
    """How long a request took, in seconds, and its answer; an empty one where it was cut off."""
    started = time.perf_counter()
    answer = bytearray()
    try:
        with socket.create_connection(place, timeout=60) as client:
            client.sendall(REQUEST)
            while part := client.recv(1 << 18):
                answer += part
    except OSError:
        return time.perf_counter() - started, b""
    return time.perf_counter() - started, bytes(answer)


def dawdle(place: tuple[str, int], done: threading.Event) -> None:
    """Sends a byte of a request each second, for as long as that lasts."""
    while not done.is_set():
        try:
            with socket.create_connection(place, timeout=60) as client:
                for byte in REQUEST[:-1]:
                    client.sendall(bytes([byte]))
                    if done.wait(1):
                        return
        except OSError:
            done.wait(1)


if __name__ == "__main__":
    main()
