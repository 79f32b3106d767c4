"""Bind the listening sockets before anything is started: a taken port is one line, and no app is loaded."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.errors import BridgeError

__all__ = ["address_of", "bind", "bind_all", "has_inherited", "inherited"]

# The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3

_UDS_MODE = 0o600


def bind_all(addresses: Iterable[str], *, uds_mode: int = _UDS_MODE) -> list[socket.socket]:
    """Open the sockets of several addresses, each `host:port`, `[host]:port`, `unix:path` or `fd:number`.

    Raises:
        BridgeError: one is ill-formed, taken, not this machine's, or not allowed; the others are closed.
    """
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            bound += bind(**_parse(address), uds_mode=uds_mode)
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def inherited(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the sockets that systemd has opened for this very process (sd_listen_fds(3)); mostly none.

    Raises:
        BridgeError: one of them cannot listen.
    """
    if not has_inherited(environ):
        return []
    numbers = range(_FIRST_INHERITED, _FIRST_INHERITED + int(environ.get("LISTEN_FDS", "0")))
    return bind_all([f"fd:{number}" for number in numbers])


def has_inherited(environ: Mapping[str, str]) -> bool:
    """Whether systemd has opened sockets for this very process."""
    return environ.get("LISTEN_PID") == str(os.getpid())


def bind(
    *, host: str, port: int, uds: str | None = None, fd: int | None = None, uds_mode: int = _UDS_MODE
) -> list[socket.socket]:
    """Open sockets: one for each address of `host`, or one for a path or a descriptor.

    Args:
        host: a name or an address; empty for every interface.
        port: 0 for any free one.
        uds: the path of a unix socket, instead of host and port.
        fd: the number of an open socket, instead of both.
        uds_mode: the permissions of a unix socket's file; by default only its owner may connect.

    Raises:
        BridgeError: the address is taken, not this machine's, or not allowed.
    """
    if not 0 <= port <= 65535:
        raise BridgeError(f"there is no port {port}; --port takes 1 to 65535, or 0 for any free one")
    if fd is not None:
        with _explained(f"file descriptor {fd}", "--fd"):
            return [_of_descriptor(fd)]
    if uds is not None:
        with _explained(uds, "--uds"):
            return [_bind_path(uds, uds_mode)]
    with _explained(f"{_in_url(host)}:{port}", "--host and --port"):
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _bind_addresses([(family, address) for family, _, _, _, address in dict.fromkeys(found)])


def address_of(bound: socket.socket, *, tls: bool) -> str:
    """Return a socket's address as a user would type it."""
    name = bound.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    return f"{'https' if tls else 'http'}://{_in_url(name[0])}:{name[1]}"


def _parse(address: str) -> dict[str, Any]:
    """Return the arguments of `bind` for an address in one string."""
    kind, separator, rest = address.partition(":")
    if kind == "unix" and rest:
        return {"host": "", "port": 0, "uds": rest}
    if kind == "fd" and rest.isdecimal():
        return {"host": "", "port": 0, "fd": int(rest)}
    host, separator, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        separator = ""  # an IPv6 address without brackets: its end could be a port
    if not separator or not port.isdecimal():
        raise BridgeError(
            f"{address!r} is no address to listen on; --bind takes host:port, [IPv6 address]:port, "
            "unix:path or fd:number"
        )
    return {"host": host, "port": int(port)}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _of_descriptor(fd: int) -> socket.socket:
    given = socket.socket(fileno=fd)
    if given.type != socket.SOCK_STREAM:
        given.detach()  # somebody else closes it
        raise OSError("it is a socket, but not one that can listen")
    return given


def _bind_addresses(addresses: list[tuple[socket.AddressFamily, Any]]) -> list[socket.socket]:
    bound: list[socket.socket] = []
    unavailable = None
    try:
        for family, (host, port, *rest) in addresses:
            # Port 0 takes any free port, the same one for all addresses.
            port = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_bind_address(family, (host, port, *rest)))
            except OSError as error:
                # localhost may well have an IPv6 address on a machine that has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
    except BaseException:
        for one in bound:
            one.close()
        raise
    if unavailable is not None and not bound:
        raise unavailable
    return bound


def _bind_address(family: socket.AddressFamily, address: Any) -> socket.socket:
    # asyncio sets TCP_NODELAY only on a socket that names its protocol: without, each answer on a kept
    # connection took 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        # Only listening claims a port: before that, a second server could bind it as well.
        bound.listen()
    except BaseException:
        bound.close()
        raise
    return bound


def _bind_path(path: str, mode: int) -> socket.socket:
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Nobody can connect before it listens, so that the mode is early enough.
        bound.bind(path)
        os.chmod(path, mode)
        bound.listen()
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_stale(path: str) -> None:
    """Remove the socket that a killed server has left behind: nobody listens on it.

    Raises:
        BridgeError: something else has that name.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BridgeError(f"{path} is there already, and it is not a socket; choose another path with --uds")
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
