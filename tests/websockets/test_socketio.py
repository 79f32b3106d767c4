"""Flask-SocketIO in threading mode, unmodified, with its real client: polling, websocket, and the upgrade."""

import contextlib
import logging
import queue
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import socketio

from bridge import WSGIToASGI
from bridge.free_threading import has_gil
from tests.hosts import Host, RunningHost
from tests.server.command import Serving
from tests.websockets.apps import rooms
from tests.websockets.test_threads import APPS, OWN, options_for

# python-socketio's client starts a thread for each packet, and bytes come in two: without the global
# interpreter lock, the second may be taken for the first.
BYTES = [b"\x00\xff"] if has_gil() else []

TRANSPORTS = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}


class Person:
    """A client, and the events that it gets."""

    def __init__(self, url: str, name: str, transport: str) -> None:
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.client = socketio.Client(reconnection=False)
        self.client.on("*", lambda name, data: self.events.put((name, data)))
        self.client.connect(url, auth=name, transports=TRANSPORTS[transport], wait_timeout=10)
        self.websocket = (
            self.client.eio.ws
        )  # which the client forgets, but does not close, when the server does

    def next_event(self) -> tuple[str, Any]:
        return self.events.get(timeout=10)

    def call(self, event: str, *data: Any) -> Any:
        return self.client.call(event, data, timeout=10)


@pytest.fixture(params=["websockets-sansio", "wsproto", OWN])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Polling is the same on all: it knows no websocket.
ALL_TRANSPORTS = pytest.mark.parametrize(
    ("protocol", "transport"),
    [
        (OWN, "polling"),
        (OWN, "websocket"),
        (OWN, "upgrade"),
        ("websockets-sansio", "upgrade"),
        ("wsproto", "websocket"),
    ],
    indirect=True,
)


@pytest.fixture
def host(protocol: str, caplog: pytest.LogCaptureFixture) -> Iterator[RunningHost]:
    """Serves the app, and expects no warning in the log."""
    adapter = WSGIToASGI(rooms.app)
    with Host("uvicorn", "uvloop")(adapter, **options_for(protocol, adapter)) as running:
        yield running
    ours = [
        each for each in caplog.get_records("call") if each.name.partition(".")[0] in ("bridge", "uvicorn")
    ]
    assert [each.getMessage() for each in ours if each.levelno >= logging.WARNING] == []


@contextlib.contextmanager
def connected(url: str, name: str, transport: str) -> Iterator[Person]:
    person = Person(url, name, transport)
    try:
        yield person
    finally:
        person.client.disconnect()
        person.client.wait()
        if person.websocket is not None:
            person.websocket.shutdown()
        if person.client.eio.http is not None:
            person.client.eio.http.close()


def until_left(*names: str) -> None:
    """Wait until the app knows that clients have left.

    A client that polls may or may not say so as it disconnects.
    """
    waited_for = set(names)
    while waited_for:
        waited_for.discard(rooms.left.get(timeout=10))


@ALL_TRANSPORTS
def test_an_echo(host: RunningHost, transport: str) -> None:
    with connected(host.url, "ann", transport) as ann:
        for data in ("hi", {"a": [1, None, "€"]}, *BYTES, "x" * 300_000):
            assert ann.call("echo", data) == data
        expected = "polling" if transport == "polling" else "websocket"
        assert (ann.client.transport(), ann.call("transport")) == (expected, expected)
    if transport != "polling":
        until_left("ann")


def test_rooms(host: RunningHost) -> None:
    with (
        connected(host.url, "ann", "upgrade") as ann,
        connected(host.url, "ben", "websocket") as ben,
        connected(host.url, "cat", "polling") as cat,
        connected(host.url, "dan", "upgrade") as dan,
    ):
        people = {"ann": ann, "ben": ben, "cat": cat}
        present: list[Person] = []
        for name, person in people.items():
            present.append(person)
            person.call("join", "blue")
            assert [each.next_event() for each in present] == [("joined", name)] * len(present)
        ben.call("say", "blue", "hello")
        assert [ann.next_event(), cat.next_event()] == [("said", "ben: hello")] * 2
        assert httpx.get(f"{host.url}/tell/blue/news").text == "told"
        assert [each.next_event() for each in people.values()] == [("told", "news")] * 3
        cat.call("leave", "blue")
        ann.call("say", "blue", "gone?")
        assert ben.next_event() == ("said", "ann: gone?")
        for each in (cat, dan):
            each.call("echo", "after all")
            assert each.events.empty()
    until_left("ann", "ben", "dan")


@ALL_TRANSPORTS
def test_a_connection_that_is_refused(host: RunningHost, transport: str) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError), connected(host.url, "wrong", transport):
        pass


@ALL_TRANSPORTS
def test_the_server_disconnects(host: RunningHost, transport: str) -> None:
    with connected(host.url, "ann", transport) as ann:
        ann.client.emit("kick")
        until_left("ann")
        ann.client.wait()
        assert not ann.client.connected


def test_a_client_vanishes(host: RunningHost) -> None:
    with connected(host.url, "ann", "websocket") as ann:
        ann.call("echo", 1)
        ann.client.eio.ws.sock.shutdown(socket.SHUT_RDWR)
        until_left("ann")


def test_bridge_serve_stops() -> None:
    with Serving("rooms:app", "--port", "0", cwd=APPS) as serving:
        url = serving.address.replace("0.0.0.0", "127.0.0.1")
        with connected(url, "ann", "websocket") as ann:
            assert ann.call("echo", 1) == 1
            serving.interrupt()
            ann.client.wait()
            assert not ann.client.connected
        assert serving.finish() == 0
    assert "Traceback" not in serving.stderr
