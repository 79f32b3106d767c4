"""ASGI hosts that have websockets, each in a process of its own, and what each does in its own way."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of a message that hosts take by themselves, except for daphne; with granian, bytes of a frame."""

# Seconds for a host to start or to stop.
_DEADLINE = 15.0 * PATIENCE


@dataclass(frozen=True)
class ServingHost:
    """A host that serves an app, on a port of this machine."""

    port: int
    process: "subprocess.Popen[bytes]"

    def connect(self, path: str, *subprotocols: str, **options: str) -> connect:
        """A connection of the `websockets` package; options become fields of the handshake."""
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            additional_headers={name.replace("_", "-"): value for name, value in options.items()},
            compression=None,
            max_size=None,
            proxy=None,
            ping_interval=None,
            open_timeout=10,
            close_timeout=5,
        )

    def begin_to_stop(self) -> None:
        """Ask it to end, as a supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    def join(self) -> int:
        """Wait for its end; what it exited with."""
        return self.process.wait(_DEADLINE)


@dataclass(frozen=True)
class Manners:
    """What a host does by itself. The defaults are what ASGI and RFC 6455 lead one to expect."""

    has_denial: bool = True
    """Whether it has the extension `websocket.http.response`; without it a refusal is a 403."""
    takes_denial_in_parts: bool = True
    """Whether the body of a denial may be more than one event; else that is a failure of the app."""
    failed: int = 500
    """The status that a client gets when the app raises before it has answered the handshake."""
    sends_accept_headers: bool = True
    """Whether the client gets the headers of `websocket.accept`."""
    sends_reason: bool = True
    """Whether the client gets the reason of the app's close."""
    cannot_close_with: tuple[int, ...] = ()
    """Codes with which a close of the app is a failure of the app."""
    tells_code: bool = True
    """Whether the app gets the code of the client's close; else it is as if the client had vanished."""
    tells_reason: bool = True
    """Whether the app gets the reason of the client's close."""
    sends_empty_messages: bool = True
    """Whether an empty message of the app reaches the client."""
    vanished: int = 1006
    """The code that the app gets when the connection breaks."""
    broke: int = 1011
    """The code that a client gets when the app raises; 1005 is a close without a code, 1006 is no close."""
    stopped: int | None = 1001
    """The code that a client gets when the host is told to stop; None if it waits for the client to leave."""
    too_large: int = 1009
    """The code that a client gets for a message of more than `MAX_SIZE`."""
    not_utf8: int = 1007
    """The code that a client gets for text that is none."""
    tells_of_bad_input: bool = True
    """Whether the app gets 1009 and 1007 for those; else it is as if the client had vanished."""


@dataclass(frozen=True)
class Host:
    """A kind of server; called with an app, it serves it for the time of a block."""

    command: tuple[str, ...]
    """How it is run: `{app}` is where the app is, `{fd}` a socket that listens, `{port}` where to listen."""

    @contextlib.contextmanager
    def __call__(self, app: str) -> Iterator[ServingHost]:
        with contextlib.ExitStack() as stack:
            # Granian opens its own socket, with SO_REUSEPORT: one that does not listen keeps the port for it.
            listening = stack.enter_context(socket.socket(proto=socket.IPPROTO_TCP))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            is_given = "{fd}" in " ".join(self.command)
            if is_given:
                listening.listen(128)
            output = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(
                subprocess.Popen(
                    [part.format(app=app, fd=listening.fileno(), port=port) for part in self.command],
                    pass_fds=[listening.fileno()] if is_given else [],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    start_new_session=True,
                )
            )
            try:
                if not is_given:
                    _wait_for(port, process)
                yield ServingHost(port, process)
                process.terminate()
                process.wait(_DEADLINE)
            except BaseException as error:
                output.seek(0)
                error.add_note(f"The host's output:\n{output.read().decode(errors='replace')}")
                raise
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # granian's workers, too


@dataclass(frozen=True)
class WebSocketHost(Host):
    """A kind of server that has websockets."""

    manners: Manners


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "the host ended before it served"
            assert time.monotonic() < deadline, "the host does not serve"
            time.sleep(0.02)
        else:
            return


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


_UVICORN = _python(
    "uvicorn", "{app}", "--fd", "{fd}", "--log-level", "warning", "--timeout-graceful-shutdown", "5"
)

# uvicorn 0.54: a connection that is lost is "no status" to it; it does not close for an app that raises; and
# "service restart" is what it says at its end. With wsproto it drops the connection for text that is none.
_UVICORN_MANNERS = Manners(vanished=1005, broke=1006, stopped=1012)
_WSPROTO_MANNERS = replace(_UVICORN_MANNERS, not_utf8=1006)

# hypercorn 0.18 tells the app 1006 whatever the client has closed with (protocol/ws_stream.py, StreamClosed);
# when it stops it waits for its `graceful_timeout`, and then cancels the app, which counts as one that broke.
# From Python 3.12 on it does not come to that: it awaits `Server.wait_closed()` first (asyncio/run.py), which
# waits for all connections to end there. With wsproto, it drops the connection for text that is none.
_HYPERCORN_MANNERS = Manners(
    tells_code=False,
    tells_reason=False,
    stopped=1011 if sys.version_info < (3, 12) else None,
    not_utf8=1006,
    tells_of_bad_input=False,
)

# Its own is 1 MiB.
_DAPHNE_SIZES = (f"--websocket-max-message-size={MAX_SIZE}", f"--websocket-max-frame-size={MAX_SIZE}")

# daphne 4.2 has no denial, takes no headers with an accept, knows no reasons (ws_protocol.py: serverAccept,
# serverClose, onClose), sends no message that is false to Python, and drops connections at its end, and for
# what it cannot take. What it closes with, Autobahn's sendClose(), takes 1000 and 3000 to 4999.
_DAPHNE_MANNERS = Manners(
    has_denial=False,
    sends_accept_headers=False,
    sends_reason=False,
    tells_reason=False,
    sends_empty_messages=False,
    cannot_close_with=tuple(range(1001, 3000)),
    stopped=1006,
    too_large=1006,
    not_utf8=1006,
    tells_of_bad_input=False,
)

# granian 2.8 takes the body of a denial in one event only, and no headers with an accept; answers 403 for an
# app that fails; does not pass on the client's reason; closes without a code when the app ends, however that
# was, and for what it cannot take; and drops connections at its end.
_GRANIAN_MANNERS = Manners(
    takes_denial_in_parts=False,
    failed=403,
    sends_accept_headers=False,
    tells_reason=False,
    vanished=1005,
    broke=1005,
    stopped=1006,
    too_large=1005,
    not_utf8=1005,
    tells_of_bad_input=False,
)

WEBSOCKET_HOSTS: dict[str, WebSocketHost] = {
    "uvicorn-sansio": WebSocketHost((*_UVICORN, "--ws", "websockets-sansio"), _UVICORN_MANNERS),
    "uvicorn-wsproto": WebSocketHost((*_UVICORN, "--ws", "wsproto"), _WSPROTO_MANNERS),
    "hypercorn": WebSocketHost(
        _python("hypercorn", "{app}", "--bind", "fd://{fd}", "--graceful-timeout", "1"), _HYPERCORN_MANNERS
    ),
    "daphne": WebSocketHost(
        _python("daphne", "{app}", "--fd", "{fd}", "-v", "0", *_DAPHNE_SIZES), _DAPHNE_MANNERS
    ),
    "granian": WebSocketHost(
        _python("granian", "{app}", "--interface", "asgi", "--port", "{port}", "--no-log"), _GRANIAN_MANNERS
    ),
}
