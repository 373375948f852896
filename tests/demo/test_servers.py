"""The pages the demo's guest fetches."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmon.demo.servers import Servers, prose


@pytest.fixture
def servers(runtime_directory: Path) -> Iterator[Servers]:
    with Servers(runtime_directory / "web.sock") as running:
        yield running


def fetch(servers: Servers, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", servers.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/", 200, "text/html"),
        ("/index.html", 200, "text/html"),
        ("/old-page", 302, "text/html"),
        ("/status.json", 200, "application/json"),
        ("/image.png", 200, "image/png"),
        ("/update.bin", 200, "application/octet-stream"),
        ("/../../etc/passwd", 404, "text/html"),
    ],
)
def test_pages(servers: Servers, path: str, status: int, kind: str) -> None:
    response, body = fetch(servers, path)
    assert response.status == status
    assert response.getheader("Content-Type") == kind
    assert response.getheader("Content-Length") == str(len(body))


def test_the_status_is_json(servers: Servers) -> None:
    assert json.loads(fetch(servers, "/status.json")[1])["status"] == "fine"


def test_head_sends_no_body(servers: Servers) -> None:
    response, body = fetch(servers, "/image.png", "HEAD")
    assert (response.getheader("Content-Length"), body) == ("24000", b"")


def test_the_unix_socket_serves_request_after_request(runtime_directory: Path, servers: Servers) -> None:
    with socket.socket(socket.AF_UNIX) as guest, guest.makefile("rb") as answers:
        guest.settimeout(10)
        guest.connect(str(runtime_directory / "web.sock"))
        for _ in range(2):
            guest.sendall(b"GET /image.png HTTP/1.1\r\nHost: x\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += answers.readline()
            assert b" 200 OK" in head
            assert len(answers.read(24_000)) == 24_000


def test_nothing_listens_beyond_loopback(servers: Servers) -> None:
    # /proc/net/tcp prints addresses as host-endian hex; a port is unique to its listener here.
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert f"0100007F:{servers.port:04X}" in listening
    assert f"00000000:{servers.port:04X}" not in listening


def test_they_are_gone_afterwards(runtime_directory: Path) -> None:
    with Servers(runtime_directory / "web.sock") as running:
        port = running.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("length", [0, 1, 300, 24_000])
def test_prose_has_its_length(length: int) -> None:
    assert len(prose(1, length)) == length
