"""Bind the listening sockets before anything is started: a taken port is one line, and no app is loaded."""

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.errors import BridgeError

__all__ = ["address_of", "bind", "check_addresses", "inherited"]

# The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3

# The host may be empty; one with colons is an IPv6 address, and needs brackets.
_HOST_AND_PORT = re.compile(r"(\[(?P<bracketed>.*)\]|(?P<host>[^:]*)):(?P<port>-?[0-9]+)")


def bind(
    addresses: Iterable[str], *, uds_mode: int = 0o600, option: str | None = None
) -> list[socket.socket]:
    """Open the sockets of several addresses.

    Args:
        addresses: each is `host:port`, `[host]:port`, `unix:path` or `fd:number`. An empty host is every
            interface, and one with several addresses gets a socket for each; port 0 is any free one.
        uds_mode: the permissions of a unix socket's file; by default only its owner may connect.
        option: the option that has named them, for errors; None for uvicorn's, one for each kind.

    Raises:
        BridgeError: one is ill-formed, taken, not this machine's, or not allowed; the others are closed.
    """
    with contextlib.ExitStack() as stack:
        bound = [
            stack.enter_context(each) for address in addresses for each in _bind(address, uds_mode, option)
        ]
        stack.pop_all()
    return bound


def inherited(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the sockets that systemd has opened for this process (sd_listen_fds(3)); often none.

    Raises:
        BridgeError: one of them cannot listen.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    numbers = range(_FIRST_INHERITED, _FIRST_INHERITED + int(environ.get("LISTEN_FDS", "0")))
    return bind(f"fd:{number}" for number in numbers)


def address_of(bound: socket.socket, *, tls: bool) -> str:
    """Return a socket's address as a user would type it."""
    name = bound.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    return f"{'https' if tls else 'http'}://{_in_url(name[0])}:{name[1]}"


def check_addresses(sockets: Iterable[socket.socket]) -> None:
    """Check that only this machine can reach the debugger.

    Args:
        sockets: the server's listening sockets.

    Raises:
        BridgeError: one is no TCP socket of loopback (127.0.0.0/8 or ::1).
    """
    for each in sockets:
        name = each.getsockname()
        # A unix socket usually has a proxy before it, which anybody may reach.
        has_address = each.family in (socket.AF_INET, socket.AF_INET6)
        if not has_address or not ipaddress.ip_address(name[0]).is_loopback:
            shown = name[0] if has_address else f"a unix socket ({os.fsdecode(name)})"
            raise BridgeError(
                f"--debug does not listen on {shown}: the debugger is a Python shell for whoever knows "
                "its PIN, so only this machine may reach it; use --host 127.0.0.1, or leave --debug out"
            )


def _bind(address: str, uds_mode: int, option: str | None) -> list[socket.socket]:
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        with _explained(rest, option or "--uds"):
            _remove_stale(rest, option or "--uds")
            return [_bind_path(rest, uds_mode)]
    if kind == "fd" and rest.isdecimal():
        with _explained(f"file descriptor {rest}", option or "--fd"):
            given = socket.socket(fileno=int(rest))
            if given.type != socket.SOCK_STREAM:
                given.detach()  # somebody else closes it
                raise OSError("it is a socket, but not one that can listen")
            return [given]
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None:
        raise BridgeError(
            f"{address!r} is no address to listen on; --bind takes host:port, [IPv6 address]:port, "
            "unix:path or fd:number"
        )
    host, port = found["bracketed"] or found["host"], int(found["port"])
    if not 0 <= port <= 65535:
        raise BridgeError(
            f"there is no port {port}; {option or '--port'} takes 1 to 65535, or 0 for any free one"
        )
    with _explained(f"{_in_url(host)}:{port}", option or "--host and --port"):
        found_all = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _bind_addresses([(family, name) for family, _, _, _, name in dict.fromkeys(found_all)])


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bind_addresses(addresses: list[tuple[socket.AddressFamily, Any]]) -> list[socket.socket]:
    bound: list[socket.socket] = []
    unavailable = None
    with contextlib.ExitStack() as stack:
        for family, (host, port, *rest) in addresses:
            # Port 0 takes any free port, the same one for all addresses.
            port = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(stack.enter_context(_bind_address(family, (host, port, *rest))))
            except OSError as error:
                # localhost may well have an IPv6 address on a machine that has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
        if unavailable is not None and not bound:
            raise unavailable
        stack.pop_all()
    return bound


@contextlib.contextmanager
def _closed_on_error(bound: socket.socket) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(bound)
        stack.pop_all()


def _bind_address(family: socket.AddressFamily, address: Any) -> socket.socket:
    # asyncio sets TCP_NODELAY only on a socket that names its protocol: without, each answer on a kept
    # connection took 40 ms.
    with _closed_on_error(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen()  # only this claims a port: before, a second server could bind it as well
    return bound


def _bind_path(path: str, mode: int) -> socket.socket:
    with _closed_on_error(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as bound:
        bound.bind(path)
        os.chmod(path, mode)  # early enough: nobody can connect before it listens
        bound.listen()
    return bound


def _remove_stale(path: str, option: str) -> None:
    """Remove the socket that a killed server has left behind: nobody listens on it.

    Raises:
        BridgeError: something else has that name.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BridgeError(
            f"{path} is there already, and it is not a socket; choose another path with {option}"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


@contextlib.contextmanager
def _explained(where: str, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BridgeError(f"{where} is taken by another process; choose another with {option}") from None
        raise BridgeError(f"cannot listen on {where}: {error.strerror or error} (see {option})") from None
