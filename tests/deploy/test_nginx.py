"""deploy/nginx: the file as it is, but for its addresses, in an nginx in front of `bridge serve`."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.deploy.examples import APPS, find_program, program, text, unit_arguments
from tests.server.command import Serving, wait_until

# What Debian's own nginx.conf would have around it, for one that leaves nothing outside its folder.
AROUND = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include bridge.conf;
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, upstream: Path, changes: Mapping[str, str] | None = None) -> Iterator[int]:
    """nginx on a free port, in front of a unix socket; with changes to its configuration."""
    path = find_program("nginx", package="Debian's nginx")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        configuration = text("nginx/bridge.conf")
        for written, here in {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "listen [::]:80;": "",
            "unix:/run/bridge.sock": f"unix:{upstream}",
            **(changes or {}),
        }.items():
            assert configuration.count(written) == 1
            configuration = configuration.replace(written, here)
        (folder / "bridge.conf").write_text(configuration)
        # Its workers would be of a user who may not come near to the folder of a test.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(user=user))
        # The way in which nginx hands its sockets on to a newer nginx: nobody else can take the port.
        inherit = {"NGINX": f"{listening.fileno()};"}
        command = [path, "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-e", "stderr"]
        with program(*command, cwd=folder, env=inherit, pass_fds=[listening.fileno()]) as running:
            yield port
            running.signal(signal.SIGTERM)
            assert running.finish() == 0, running.stderr
            assert not re.search(r"\[(warn|alert|emerg|crit)\]", running.stderr), running.stderr


@dataclass(frozen=True)
class Site:
    """A client of nginx, and the server behind it."""

    client: httpx.Client
    server: Serving


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Bridge runs as in the unit, but with one worker, whose streams another request can then influence."""
    path = tmp_path / "socket"
    with (
        Serving("app:app", *unit_arguments()[1:], "--workers", "1", "--uds", str(path), cwd=APPS) as server,
        nginx(tmp_path, path) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        yield Site(client, server)


def test_the_app_sees_the_client(site: Site) -> None:
    response = site.client.get("/", headers={"Host": "shop.example:8080"})
    seen = response.json()
    assert (seen["address"], seen["url"]) == ("127.0.0.1", "http://shop.example:8080/")
    assert re.fullmatch("[0-9a-f]{32}", seen["request id"])
    assert response.headers["X-Request-ID"] == seen["request id"]


def test_what_the_client_says_of_itself_is_not_believed(site: Site) -> None:
    lies = {"X-Forwarded-For": "192.0.2.6", "X-Forwarded-Proto": "https", "X-Request-ID": "mine"}
    seen = site.client.get("/", headers=lies).json()
    assert (seen["address"], seen["url"].partition(":")[0]) == ("127.0.0.1", "http")
    assert seen["request id"] != "mine"


def test_a_head(site: Site) -> None:
    length = site.client.get("/").headers["Content-Length"]
    response = site.client.head("/")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == length


def test_health_is_not_public(site: Site) -> None:
    assert site.server.get("/-/health/ready").status == 200
    assert site.client.get("/-/health/ready").status_code == 404


@pytest.mark.parametrize("path", ["/flood", "/events/flood"], ids=["by what it says", "by its location"])
def test_an_event_stream_is_not_kept_for_a_client_that_does_not_read(site: Site, path: str) -> None:
    """Or it would get events that are long out of date."""

    def has_stalled() -> bool:
        produced: float = site.client.get("/produced").json()["seconds since"]
        return produced > 0.5

    with site.client.stream("GET", path):
        wait_until(has_stalled, "an app that is held back")
        # All of it would be 125 MiB; what is here is in the buffers of sockets.
        assert site.client.get("/produced").json()["bytes"] < 32 * 1024 * 1024


@pytest.mark.parametrize("path", ["/source", "/events/plain"], ids=["by what it says", "by its location"])
def test_an_event_stream_comes_event_by_event_and_ends_with_its_client(site: Site, path: str) -> None:
    with site.client.stream("GET", path) as response:
        lines = response.iter_lines()
        assert [next(lines), next(lines)] == ["data: 1", ""]
        site.client.post("/go-on")  # not before the first one is here
        assert [next(lines), next(lines)] == ["data: 2", ""]
    assert site.client.get("/left").text == "it has left"


def test_a_large_upload(site: Site) -> None:
    size = 16 * 1024 * 1024
    response = site.client.post("/size", content=bytes(size))
    assert (response.status_code, response.text) == (200, str(size))


def test_an_upload_that_is_too_large_does_not_come_to_the_server(site: Site) -> None:
    response = site.client.post("/size", content=bytes(16 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert "nginx" in response.text


BELOW = {"left": "proxy_pass http://bridge;", "taken off": "proxy_pass http://bridge/;"}


@pytest.mark.parametrize("passing", BELOW.values(), ids=BELOW.keys())
def test_an_app_below_a_path(tmp_path: Path, passing: str) -> None:
    """nginx may take the path off, by a slash after the upstream's name, or not."""
    path = tmp_path / "socket"
    written = "location / {\n        proxy_pass http://bridge;"
    changes = {written: f"location /shop/-/ {{ return 404; }}\n    location /shop/ {{\n        {passing}"}
    arguments = ["app:app", *unit_arguments()[1:], "--workers", "1", "--uds", str(path)]
    with (
        Serving(*arguments, "--root-path", "/shop", cwd=APPS),
        nginx(tmp_path, path, changes) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        headers = {"Host": "shop.example", "SCRIPT_NAME": "/evil"}
        response = client.get("/shop/", headers=headers)
        assert (response.status_code, response.json()["url"]) == (200, "http://shop.example/shop/")
        assert client.post("/shop/size", content=b"123").text == "3"
        with client.stream("GET", "/shop/source") as stream:  # on the event loop
            assert next(stream.iter_lines()) == "data: 1"
        assert client.get("/shop/-/health/ready").status_code == 404


_UPGRADE = (
    b"POST /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: %d\r\n\r\n%s"
)
_FORBIDDEN = b"GET /-/health/ready HTTP/1.1\r\nHost: a\r\n\r\n"


def two_answers(site: Site, upgrade: str) -> tuple[bytes, bytes]:
    """Those to a POST with an upgrade, and to the request behind it, which is a 404."""
    following = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    url = site.client.base_url
    with socket.create_connection((url.host, url.port or 80), 10) as client:
        client.sendall(_UPGRADE % (upgrade.encode(), len(_FORBIDDEN), _FORBIDDEN) + following)
        with client.makefile("rb") as reader:
            first, second = re.split(rb"(?=HTTP/1\.1 404 )", reader.read())
    return first, second


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "h2c, websocket"])
def test_an_upgrade_is_not_passed_on(site: Site, upgrade: str) -> None:
    """And the body behind it is not a request, which nginx would not have seen."""
    first, second = two_answers(site, upgrade)
    seen = json.loads(first.partition(b"\r\n\r\n")[2])
    assert seen == {"Upgrade": None, "Connection": None, "size": len(_FORBIDDEN)}
    assert b"ready" not in second


def test_an_upgrade_that_is_passed_on_and_not_taken(site: Site) -> None:
    """A POST is no handshake: the field is ignored. Its body is no request either."""
    first, second = two_answers(site, "websocket")
    seen = json.loads(first.partition(b"\r\n\r\n")[2])
    assert seen == {"Upgrade": None, "Connection": "upgrade", "size": len(_FORBIDDEN)}
    assert b"ready" not in second


def test_a_websocket(site: Site) -> None:
    with connect(str(site.client.base_url.join("/echo")).replace("http", "ws", 1)) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=10) == "hello"


# nginx's own way: a connection for each request, which the server closes.
_OLD_WAY = {
    "    proxy_set_header Connection        $bridge_connection;\n": "",
    "proxy_http_version 1.1;": "proxy_http_version 1.0;",
}


@pytest.mark.parametrize("way", [{}, _OLD_WAY], ids=["as it is", "by HTTP/1.0"])
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_an_answer_to_an_upload_that_is_not_read(tmp_path: Path, way: dict[str, str], buffering: str) -> None:
    """It comes through nginx, which is still sending when it comes."""
    path = tmp_path / "socket"
    changes = way | {
        "client_max_body_size 16m;": f"client_max_body_size 0; proxy_request_buffering {buffering};"
    }
    size = 60 * 1024 * 1024
    arguments = ["app:app", *unit_arguments()[1:], "--workers", "1", "--uds", str(path)]
    with (
        Serving(*arguments, "--limit-request-body", str(2 * size), cwd=APPS),
        nginx(tmp_path, path, changes) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        answers = [client.post("/refuse", content=bytes(size)) for _ in range(3)]
    assert [(answer.status_code, answer.text) for answer in answers] == [(413, "refused, and not read")] * 3


def test_a_restart_behind_a_socket_that_stays_open_is_not_noticed(tmp_path: Path) -> None:
    """As with bridge.socket, whose place the test takes: it holds the socket."""
    path = tmp_path / "socket"
    statuses: list[int] = []
    stopped = threading.Event()

    def ask(port: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
            while not stopped.is_set():
                connection.request("GET", "/")
                with connection.getresponse() as response:
                    response.read()
                    statuses.append(response.status)

    with socket.socket(socket.AF_UNIX) as listening, nginx(tmp_path, path) as port:
        listening.bind(str(path))
        listening.listen()
        arguments = ["app:app", *unit_arguments()[1:], "--workers", "1", "--fd", str(listening.fileno())]
        clients = [threading.Thread(target=ask, args=[port]) for _ in range(4)]
        try:
            for client in clients:
                client.start()
            for _ in range(3):
                with Serving(*arguments, cwd=APPS, pass_fds=[listening.fileno()]) as server:
                    server.wait_for_access_log('"GET"')
                    server.signal(signal.SIGTERM)
                    assert server.finish() == 0
            with Serving(*arguments, cwd=APPS, pass_fds=[listening.fileno()]):
                stopped.set()
                for client in clients:
                    client.join()
        finally:
            stopped.set()
    assert set(statuses) == {200}
