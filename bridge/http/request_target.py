"""What a request is for: its target, in one of four forms (RFC 9112, 3.2). Pure."""

import re
from typing import NamedTuple

from bridge.http.limits import HOST, Refusal

__all__ = ["RequestTarget", "read_request_target", "replace_host"]

_Header = tuple[bytes, bytes]

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?]*)([^?]*)\??(.*)")
_SCHEMES = (b"http", b"https")
_AUTHORITY = re.compile(rb"(.+):([0-9]{1,5})")
_LAST_PORT = 65535
_SLASH = ord("/")

_ILL_FORMED = Refusal(400, "The target of the request is ill-formed (RFC 9112, 3.2).")
_OTHER_SCHEME = Refusal(421, "The scheme of the target is not http or https (RFC 9110, 15.5.20).")
# Not 405, which is for a method that some resource has: a tunnel is nothing that this server can make for any
# (RFC 9110, 9.1 and 15.6.2).
_NO_TUNNELS = Refusal(501, "This server is no proxy, and makes no tunnels (RFC 9110, 9.3.6).")


class RequestTarget(NamedTuple):
    """The parts of a target.

    Args:
        path: as it was sent; "/" where there is none after a host, "*" for the server as a whole.
        query: what follows the question mark.
        host: the one that it names, with its port; None if it names none.
    """

    path: bytes
    query: bytes
    host: bytes | None


def read_request_target(method: bytes, target: bytes) -> RequestTarget | Refusal:
    """Read the target of a request with this method.

    Args:
        method: a token.
        target: printable ASCII.

    Returns:
        its parts, or why it must not reach an app.
    """
    if target[0] == _SLASH and method != b"CONNECT" and b"#" not in target:
        path, _, query = target.partition(b"?")
        return RequestTarget(path, query, None)
    if method == b"CONNECT":
        authority = _AUTHORITY.fullmatch(target)
        is_valid = authority is not None and _is_host(authority[1]) and int(authority[2]) <= _LAST_PORT
        return _NO_TUNNELS if is_valid else _ILL_FORMED
    if b"#" in target:  # a fragment is the client's own (RFC 9110, 7.1)
        return _ILL_FORMED
    if target == b"*":
        return RequestTarget(target, b"", None) if method == b"OPTIONS" else _ILL_FORMED
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return _ILL_FORMED
    scheme, host, path, query = absolute.groups()
    if scheme.lower() not in _SCHEMES:
        return _OTHER_SCHEME
    if not _is_host(host):
        return _ILL_FORMED
    return RequestTarget(path or b"/", query, host)


def replace_host(headers: list[_Header], host: bytes) -> None:
    """Have the fields name the host of the target, whatever Host the client has sent (RFC 9112, 3.2.2)."""
    for index, (name, _) in enumerate(headers):
        if name == b"host":
            headers[index] = b"host", host
            return
    headers.insert(0, (b"host", host))


def _is_host(host: bytes) -> bool:
    """Whether it is one, and not empty (RFC 9110, 4.2.1); no user is a part of it (4.2.4)."""
    return host[:1] not in (b"", b":") and HOST.fullmatch(host) is not None
