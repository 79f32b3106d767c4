"""A client that stops reading: how much does the app produce that nobody reads?

What the app has produced and the client has not read lies in one of these places:

- the client's and the server's socket buffer, in the kernel, which grow to a few MB as they please
  (net.ipv4.tcp_rmem, tcp_wmem). How full they are is read from /proc/net/tcp;
- the server's transport: uvicorn has it say stop above 64 KiB, and so it holds that and what came last,
  which is at most what the link held then;
- the thread link, which holds `buffer_size` and one chunk.
"""

import json
import socket
import time
from pathlib import Path

from benchmarks.apps.sizes import KIB, MIB
from benchmarks.experiments.findings import Experiment, Finding, Scale
from benchmarks.servers import Server, ServerError

__all__ = ["stalled_client"]

_READ = MIB
_TIMEOUT = 30.0
_STILL = 1.0
_HELD = 3.0

_TRANSPORT = 64 * KIB
_BUFFER = 64 * KIB
_CHUNK = 64 * KIB
_USER_SPACE_LIMIT = _TRANSPORT + 2 * (_BUFFER + _CHUNK)


def stalled_client(scale: Scale) -> Experiment:
    """Read 1 MiB of an endless body, stop, and see what the app does; read on, leave, and look again.

    Raises:
        ServerError: the app does not come to rest, or does not go on.
    """
    with Server("bridge") as server, socket.create_connection((server.host, server.port), _TIMEOUT) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read = _read_head(client)
        read += _read(client, _READ - read)
        produced = _wait_until_still(server)
        in_kernel = _kernel_buffers(client.getsockname()[1])
        time.sleep(_HELD)
        produced_later = _produced(server)
        goes_on = _read(client, produced - read + _READ) > 0 and _produced(server) > produced
        client.close()
        closed = _wait_until_closed(server)
    beyond = produced - read
    in_process = beyond - sum(in_kernel.values())
    figures = {"read": read, "produced": produced, "beyond": beyond, "in_process": in_process, **in_kernel}
    client_socket, server_socket = (size / KIB for size in in_kernel.values())
    note = (
        f"the app produced {beyond / KIB:,.0f} KiB beyond the {read / KIB:,.0f} KiB read: in the client's "
        f"socket {client_socket:,.0f}, in the server's {server_socket:,.0f}, in uvicorn and Bridge "
        f"{in_process / KIB:,.0f}"
    )
    findings = [
        Finding(
            f"stalled client: no more than {_USER_SPACE_LIMIT / KIB:.0f} KiB in the process",
            f"{in_process / KIB:,.0f} KiB",
            in_process <= _USER_SPACE_LIMIT,
        ),
        Finding(
            f"stalled client: nothing produced in {_HELD:.0f} s of not reading",
            f"{produced_later - produced} bytes",
            produced_later == produced,
        ),
        Finding("stalled client: the app goes on when it reads again", "yes" if goes_on else "no", goes_on),
        Finding("stalled client: the generator is closed when it leaves", "yes" if closed else "no", closed),
    ]
    return Experiment(findings, [note], {**figures, "produced_later": produced_later})


def _read_head(client: socket.socket) -> int:
    """Read to the end of the headers; return how many bytes of the body came with them."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += _receive(client, 4 * KIB)
    return len(head.partition(b"\r\n\r\n")[2])


def _read(client: socket.socket, size: int) -> int:
    """Read so many bytes, no more and no fewer."""
    left = size
    while left:
        left -= len(_receive(client, min(left, 64 * KIB)))
    return size


def _receive(client: socket.socket, size: int) -> bytes:
    data = client.recv(size)
    if not data:
        raise ServerError("the server has ended an endless response")
    return data


def _counts(server: Server) -> dict[str, int]:
    counts: dict[str, int] = json.loads(server.request("GET", "/counts"))
    return counts


def _produced(server: Server) -> int:
    return _counts(server)["produced"]


def _wait_until_still(server: Server) -> int:
    """Wait until the app has produced nothing for a second."""
    deadline = time.monotonic() + _TIMEOUT
    produced, since = _produced(server), time.monotonic()
    while time.monotonic() - since < _STILL:
        time.sleep(0.05)
        now = _produced(server)
        if now != produced:
            produced, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise ServerError(f"the app goes on producing for a client that does not read: {produced} bytes")
    return produced


def _wait_until_closed(server: Server) -> bool:
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        counts = _counts(server)
        if counts["opened"] == counts["closed"]:
            return True
        time.sleep(0.05)
    return False


def _kernel_buffers(port: int) -> dict[str, int]:
    """The bytes on their way to a client's port that lie in either socket, by /proc/net/tcp."""
    found = {"client_socket": 0, "server_socket": 0}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
        to_send, to_read = (int(size, 16) for size in fields[4].split(":"))
        if local == port:
            found["client_socket"] += to_read
        elif remote == port:
            found["server_socket"] += to_send
    return found
