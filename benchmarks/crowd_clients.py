"""The process that plays the clients of a `benchmarks.crowd.Crowd`, which starts it and ends it.

It obeys lines on its standard input, and ends when that ends:

    wait <seconds>        prints how many clients are open, once all are that can be, or the time is up
    begin                 the window begins
    end <begin> <end>     prints the counts for the window between these moments, and ends
"""

import asyncio
import json
import resource
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias, cast

import httptools

from benchmarks.crowd import (
    CrowdCounts,
    Events,
    ReaderRecord,
    SlowReaders,
    StreamRecord,
    Window,
    count_events,
    count_readers,
)

__all__ = ["main"]

Address: TypeAlias = tuple[str, int]

_new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop as _new_event_loop
except ImportError:
    from asyncio import new_event_loop as _new_event_loop

_HARD_LIMIT = 600
_CONNECTING = 100
# A new connection waits so long at most for an answer to the one before it: a server that answers need not
# take thousands at once, and one that does not still gets all of them, 1,000 a second.
_TURN = 0.1
_SPARE_FILES = 100
_RECEIVE_BUFFER = 4096
_READS_PER_SECOND = 4
_LARGEST_READ = 65_536
# What the server may do to a connection; any other error is one of this process, and ends it.
_BREAKS = (ConnectionError, TimeoutError, httptools.HttpParserError)


class _Client(ABC):
    """One client."""

    def __init__(self) -> None:
        self.open = False
        self.failure: str | None = None
        self.settled = asyncio.Event()

    @abstractmethod
    async def start(self, address: Address, group: asyncio.TaskGroup) -> None:
        """Connect, send the request, and let the rest go on by itself or in the group."""

    @abstractmethod
    def mark(self) -> None:
        """Note that the window begins."""

    @abstractmethod
    def leave(self) -> None:
        """Close the connection."""

    def succeed(self) -> None:
        """Note that what was asked for has begun to come."""
        self.open = True
        self.settled.set()

    def fail(self, reason: str) -> None:
        """Note the first reason why this client does not get what it came for."""
        self.open = False
        self.failure = self.failure or reason
        self.settled.set()


class _Stream(_Client, asyncio.Protocol):
    """Holds one stream of events open, and notes when each was due and when it came."""

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self.events: list[tuple[float, float]] = []
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._now = 0.0

    async def start(self, address: Address, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, *address)
        except _BREAKS as error:
            self.fail(repr(error))

    def mark(self) -> None:
        """Nothing to do: every event is noted with its time."""

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, but not the class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break_off(repr(error.__context__ or error))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._break_off(f"status {status}")

    def on_body(self, body: bytes) -> None:
        """Note the events that are whole now; called for each chunk, or for each part of it that was read."""
        if self.failure is not None:
            return
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            self.events.append((_due(event), self._now))
        if self.events and not self.open:
            self.succeed()

    def on_message_complete(self) -> None:
        self._break_off("the response ended")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(repr(exc) if exc else "the connection was closed")

    def _break_off(self, reason: str) -> None:
        self.fail(reason)
        self.leave()


def _due(event: bytes) -> float:
    if not event.startswith(b"data: "):
        raise ValueError(f"not an event with a time: {event!r}")
    return float(event[6:])


class _SlowReader(_Client):
    """Downloads and reads slowly; begins anew when the body ends.

    It reads from a raw socket, since a transport reads as much as there is. The socket's buffer is small, so
    that what this client has not read stays with the server.
    """

    def __init__(self, request: bytes, bytes_per_second: int) -> None:
        super().__init__()
        self.read_in_window = 0
        self._request = request
        self._rate = bytes_per_second
        self._piece = min(max(bytes_per_second // _READS_PER_SECOND, 1), _LARGEST_READ)
        self._next_read = 0.0

    async def start(self, address: Address, group: asyncio.TaskGroup) -> None:
        try:
            connection = await self._connect(address)
        except _BREAKS as error:
            self.fail(repr(error))
        else:
            group.create_task(self._download(connection, address))

    def mark(self) -> None:
        self.read_in_window = 0

    def leave(self) -> None:
        """Nothing to do: the download closes its connection when it is cancelled."""

    async def _connect(self, address: Address) -> socket.socket:
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            await loop.sock_connect(connection, address)
            await loop.sock_sendall(connection, self._request)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _download(self, connection: socket.socket, address: Address) -> None:
        try:
            while self.failure is None:
                with connection:
                    await self._read_response(connection)
                connection = await self._connect(address)
        except _BREAKS as error:
            self.fail(repr(error))

    async def _read_response(self, connection: socket.socket) -> None:
        response = _Response()
        while not response.complete:
            response.feed(await self._read_in_turn(connection))
            if response.status not in (None, 200):
                self.fail(f"status {response.status}")
                return
            if response.status == 200:
                self.succeed()

    async def _read_in_turn(self, connection: socket.socket) -> bytes:
        """Read one piece as soon as the rate allows it; what was missed for 250 ms at most is made up for."""
        await asyncio.sleep(self._next_read - time.monotonic())
        data = await asyncio.get_running_loop().sock_recv(connection, self._piece)
        earliest = time.monotonic() - 1 / _READS_PER_SECOND
        self._next_read = max(self._next_read, earliest) + len(data) / self._rate
        self.read_in_window += len(data)
        return data


class _Response:
    """How far a response has come."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.complete = False
        self._has_length = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what was read; nothing stands for the end of the connection."""
        if data:
            self._parser.feed_data(data)
        elif self.status is None or self._has_length:
            raise ConnectionError("the connection was closed")
        else:
            self.complete = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        self.complete = True


class _Clients(ABC):
    """All of them."""

    def __init__(self, address: Address, clients: Sequence[_Client]) -> None:
        self._address = address
        self._clients = clients

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self._clients)

    @abstractmethod
    def counts(self, window: Window) -> CrowdCounts:
        """What came of it in the window."""

    async def run(self) -> None:
        """Let them come, at most so many at a time, and stay; ends only when it is cancelled or fails."""
        coming = iter(self._clients)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CONNECTING):
                    group.create_task(self._start_one_by_one(coming, group))
                await asyncio.get_running_loop().create_future()
        finally:
            for client in self._clients:
                client.leave()

    async def wait_until_open(self, patience: float) -> int:
        """Wait until all are open or have failed, or the time is up; return how many are open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for client in self._clients:
                    await client.settled.wait()
        return sum(client.open for client in self._clients)

    def mark(self) -> None:
        """Note that the window begins."""
        for client in self._clients:
            client.mark()

    async def _start_one_by_one(self, coming: Iterator[_Client], group: asyncio.TaskGroup) -> None:
        for client in coming:
            await client.start(self._address, group)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TURN):
                    await client.settled.wait()


class _Streams(_Clients):
    def __init__(self, address: Address, load: Events) -> None:
        self._load = load
        self._streams = [_Stream(_request(address, load.path)) for _ in range(load.count)]
        super().__init__(address, self._streams)

    def counts(self, window: Window) -> CrowdCounts:
        records = [StreamRecord(stream.events, stream.failure) for stream in self._streams]
        return count_events(records, window, self._load.interval)


class _SlowReaders(_Clients):
    def __init__(self, address: Address, load: SlowReaders) -> None:
        self._load = load
        request = _request(address, load.path)
        self._readers = [_SlowReader(request, load.bytes_per_second) for _ in range(load.count)]
        super().__init__(address, self._readers)

    def counts(self, window: Window) -> CrowdCounts:
        records = [ReaderRecord(reader.read_in_window, reader.failure) for reader in self._readers]
        return count_readers(records, window, self._load.bytes_per_second)


def _request(address: Address, path: str) -> bytes:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{address[1]}\r\n\r\n".encode("ascii")


def main() -> None:
    """Play the clients that the command line names: host, port, class of the load, its fields as JSON."""
    signal.alarm(_HARD_LIMIT)  # ends the process, whatever it is at
    host, port, kind, fields = sys.argv[1:]
    address = (host, int(port))
    if kind == "Events":
        clients: _Clients = _Streams(address, Events(**json.loads(fields)))
    elif kind == "SlowReaders":
        clients = _SlowReaders(address, SlowReaders(**json.loads(fields)))
    else:
        raise SystemExit(f"no such load: {kind}")
    _allow_files(clients.count + _SPARE_FILES)
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(_play(clients))


def _allow_files(needed: int) -> None:
    """Raise the limit of open files as far as may be; too low a limit would look like the server's fault."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise SystemExit(f"needs {needed} open files, and may have {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _play(clients: _Clients) -> None:
    commands = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(commands)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(clients.run()), group.create_task(_raise_lost_error())]
        await _obey(commands, clients)
        for task in running:
            task.cancel()


async def _raise_lost_error() -> None:
    """Raise the first error of a callback, which the event loop would only log."""
    loop = asyncio.get_running_loop()
    error: asyncio.Future[None] = loop.create_future()

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not error.done():
            error.set_exception(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(note)
    await error


async def _obey(commands: asyncio.StreamReader, clients: _Clients) -> None:
    async for line in commands:
        match line.split():
            case [b"wait", patience]:
                print(await clients.wait_until_open(float(patience)), flush=True)
            case [b"begin"]:
                clients.mark()
            case [b"end", begin, end]:
                print(json.dumps(asdict(clients.counts(Window(float(begin), float(end))))), flush=True)
                return
            case _:
                raise ValueError(f"no such command: {line!r}")


if __name__ == "__main__":
    main()
