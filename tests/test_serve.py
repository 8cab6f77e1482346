import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from smidgen.errors import SmidgenError
from smidgen.serve import ADDRESS, serve


def test_the_command_serves_the_page_and_ends_quietly():
    command = [sys.executable, "-c", "from smidgen.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": "true"},  # a browser that opens nothing
    )
    try:
        said = ""
        while not said.endswith("}\n"):
            said += process.stdout.readline()
        document = json.loads(said)
        assert document["url"].startswith(f"http://{ADDRESS}:")
        with urllib.request.urlopen(document["url"]) as answer:
            page = answer.read().decode()
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.startswith("<!doctype html>")
        assert all(name in page for name in document["models"])
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(document["url"] + "favicon.ico")
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in complaints


def test_a_port_in_use_is_named_with_another():
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SmidgenError, match=rf"port {port} is in use; .* --port {port + 1}"):
            serve("", port, lambda url: None)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(SmidgenError, match=f"port {port} is not from 0 to 65535"):
        serve("", port, lambda url: None)
