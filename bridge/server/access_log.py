"""The access log: a line for every request, in a format of the operator's, or as JSON.

    AccessLog(app, '%(h)s "%(r)s" %(s)s %(b)s %(M)s ms, %(W)s of them waiting, %(id)s')

Names are gunicorn's, and a few more. What comes from the client is escaped: whatever it sends, a line stays
one line, and what is in quotes stays there.

| name | what it is |
| --- | --- |
| `h` `l` `u` | the client's address; `-`; the user of Basic auth |
| `t` | the time at which the line is written, such as `[22/Nov/2026:10:00:00 +0000]` |
| `r` `m` `U` `q` `H` | the request line; its method, decoded path, query and protocol |
| `s` | the status; `-` if the client left before it |
| `B` `b` | bytes of the response's body; `b` is `-` if there are none |
| `f` `a` | the headers Referer and User-Agent |
| `T` `M` `D` `L` | the time to the response's end: seconds, ms, µs, seconds with decimals |
| `W` `A` | milliseconds that the request waited for a thread, and was in the app |
| `I` | bytes of the request's body that the app has read |
| `x` | `left` if the client had gone before the end of the response |
| `id` `p` | the request id; the process id |
| `{name}i` `{name}o` | a header of the request, and of the app's response |
| `{name}e` | a variable of the process's environment |

`-` stands for what is not there. `%(a).80s` cuts, `%(m)-7s` fills up with spaces.
"""

import base64
import binascii
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast
from urllib.parse import quote

from bridge.server.exchange import Exchange, Exchanges, Observer
from bridge.types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

__all__ = ["COMBINED", "JSON", "AccessLog", "LogLines", "check_format"]

COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""The combined log format, which is gunicorn's default."""

JSON = "json"
"""In place of a format: every line is a JSON object."""


class AccessLog:
    """ASGI middleware that logs a line for every http request.

    Args:
        app: the ASGI application.
        format: a %-style string with the names above, or "json".
        logger: where lines go, at level INFO; by default the one named `bridge.access`. Nothing is measured
            while it is not enabled for that.

    Raises:
        ValueError: the format has a name that is not known, or is ill-formed.

    The line is written when the response has ended, the client has left, or the app has failed; for what
    `WSGIToASGI` serves, when the call has ended, too, so that the time in the app is known. An app that fails
    before its response has the status 500, which the host will send. The time is measured to the response's
    end, not to that of what the app does afterwards.
    """

    def __init__(
        self, app: ASGI3Application, format: str = COMBINED, logger: logging.Logger | None = None
    ) -> None:
        self._app = cast(Any, app)  # asgiref's types know less events than are there
        self._lines = LogLines(format, logger)
        self._watched = Exchanges(app, [self._lines])

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one ASGI scope; those other than `http` go to the app as they are."""
        is_logged = scope["type"] == "http" and self._lines.is_enabled
        await (self._watched if is_logged else self._app)(scope, receive, send)


class LogLines(Observer):
    """Writes a line for every exchange.

    Args:
        format: as for `AccessLog`.
        logger: as for `AccessLog`.

    Raises:
        ValueError: as `AccessLog`.
    """

    def __init__(self, format: str, logger: logging.Logger | None = None) -> None:
        self._line_of = _compile(format)
        self._logger = logger or logging.getLogger("bridge.access")

    @property
    def is_enabled(self) -> bool:
        """Whether lines are written at all."""
        return self._logger.isEnabledFor(logging.INFO)

    def ended(self, exchange: Exchange) -> None:
        """Write the line."""
        if not self.is_enabled:
            return
        # As Logger.info() does, without its search of the stack for the caller: that is a third of its time.
        logger = self._logger
        line = self._line_of(exchange)
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, line, (), None))


def check_format(format: str) -> None:
    """Say whether `AccessLog` takes this format.

    Raises:
        ValueError: it does not; the message names what is wrong, and what is known.
    """
    _compile(format)


# From what came to what may be in a line

# Text between quotes, and a word that has none around it.
_UNSAFE_IN_TEXT = re.compile(r"[^ !#-\[\]-~]")
_UNSAFE_IN_WORD = re.compile(r"[^!#-\[\]-~]")


def _text(value: bytes) -> str:
    """With `\\xNN` for all that is not printable ASCII, and for quotes and backslashes; as nginx does."""
    decoded = value.decode("latin-1")
    return _UNSAFE_IN_TEXT.sub(_escape, decoded) if _UNSAFE_IN_TEXT.search(decoded) else decoded


def _word(value: str) -> str:
    """The same for what is not in quotes by custom: a space in it would move the fields behind it."""
    if _UNSAFE_IN_WORD.search(value):
        return _UNSAFE_IN_WORD.sub(_escape, value.encode("utf-8", "surrogatepass").decode("latin-1"))
    return value


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02X}"


# What can be said, by its name in a format

_Reader: TypeAlias = Callable[[Exchange], object]


def _client(exchange: Exchange) -> str:
    client = exchange.scope.get("client")
    return _word(client[0]) if client and client[0] else "-"


def _user(exchange: Exchange) -> str:
    return _word(_basic_user(exchange) or "-")


def _request_line(exchange: Exchange) -> str:
    scope = exchange.scope
    target = scope.get("raw_path") or quote(scope["path"], errors="surrogatepass").encode()
    query = scope.get("query_string")
    if query:
        target += b"?" + query
    return _text(b"%b %b HTTP/%b" % (scope["method"].encode(), target, scope["http_version"].encode()))


def _header_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The value; all of them with commas between, if there are several (RFC 9110, 5.3)."""
    found = [value for name, value in headers if name == wanted]
    return b", ".join(found) if found else None


def _basic_user(exchange: Exchange) -> str | None:
    """The user's name in `Authorization: Basic` (RFC 7617), which nobody has checked here."""
    value = _header_of(exchange.scope["headers"], b"authorization")
    if value is None or value[:6].lower() != b"basic ":
        return None
    try:
        user, colon, _ = base64.b64decode(value[6:].strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return user.decode("utf-8", "replace") if colon else None


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


class _LogTime:
    """The local time as the common log format has it, whatever the locale; made anew once a second."""

    _MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, exchange: Exchange) -> str:
        second = int(time.time())
        if second != self._second:
            now = time.localtime(second)
            month = self._MONTHS[now.tm_mon - 1]
            self._text = time.strftime(f"[%d/{month}/%Y:%H:%M:%S %z]", now)
            self._second = second
        return self._text


def _request_header(name: str) -> _Reader:
    wanted = name.lower().encode("ascii")

    def read(exchange: Exchange) -> str:
        return _text(_header_of(exchange.scope["headers"], wanted) or b"-")

    return read


def _response_header(name: str) -> _Reader:
    wanted = name.lower().encode("ascii")

    def read(exchange: Exchange) -> str:
        headers = ((name.lower(), value) for name, value in exchange.response_headers)
        return _text(_header_of(headers, wanted) or b"-")

    return read


def _environment(name: str) -> _Reader:
    return lambda exchange: _text(os.fsencode(os.environ.get(name, "-")))


_READERS: dict[str, _Reader] = {
    "h": _client,
    "l": lambda exchange: "-",
    "u": _user,
    "t": _LogTime(),
    "r": _request_line,
    "m": lambda exchange: _word(exchange.scope["method"]),
    "U": lambda exchange: _word(exchange.scope["path"]),
    "q": lambda exchange: _text(exchange.scope.get("query_string", b"")),
    "H": lambda exchange: "HTTP/" + _word(exchange.scope["http_version"]),
    "s": lambda exchange: "-" if exchange.status is None else exchange.status,
    "B": lambda exchange: exchange.sent,
    "b": lambda exchange: exchange.sent or "-",
    "f": _request_header("referer"),
    "a": _request_header("user-agent"),
    "T": lambda exchange: int(exchange.seconds),
    "M": lambda exchange: int(exchange.seconds * 1000),
    "D": lambda exchange: int(exchange.seconds * 1_000_000),
    "L": lambda exchange: f"{exchange.seconds:.6f}",
    "p": lambda exchange: os.getpid(),
    "W": lambda exchange: _milliseconds(exchange.call.waited),
    "A": lambda exchange: _milliseconds(exchange.call.ran),
    "I": lambda exchange: exchange.received,
    "x": lambda exchange: "left" if exchange.has_left else "-",
    "id": lambda exchange: exchange.request_id or "-",
}

_NAMED_READERS: dict[str, Callable[[str], _Reader]] = {
    "i": _request_header,
    "o": _response_header,
    "e": _environment,
}

# From a format to a function that makes the line

# `%(name)s`, with a width or a precision; `%%`; or a percent sign that is neither.
_DIRECTIVE = re.compile(r"%(?:\((?P<name>[^)]*)\)(?P<size>-?[0-9]*(?:\.[0-9]+)?)s|(?P<percent>%)|)")
_NAMED = re.compile(r"\{(?P<name>[^{}\x00-\x20\x7f-\U0010ffff]+)\}(?P<kind>[ioe])")


def _compile(format: str) -> Callable[[Exchange], str]:
    """The function that makes the lines of a format.

    Raises:
        ValueError: see `check_format`.
    """
    if format == JSON:
        return _json_line
    readers: list[_Reader] = []

    def take(directive: re.Match[str]) -> str:
        if directive["percent"]:
            return "%%"
        if directive["name"] is None:
            raise ValueError(
                f"the access log format has a % at {format[directive.start() :][:10]!r} that begins no name; "
                "write %(name)s, or %% for a percent sign"
            )
        readers.append(_reader_of(directive["name"]))
        return f"%{directive['size']}s"

    template = _DIRECTIVE.sub(take, format)
    return lambda exchange: template % tuple([read(exchange) for read in readers])


def _reader_of(name: str) -> _Reader:
    reader = _READERS.get(name)
    if reader is not None:
        return reader
    named = _NAMED.fullmatch(name)
    if named is not None:
        return _NAMED_READERS[named["kind"]](named["name"])
    known = ", ".join([*_READERS, *(f"{{name}}{kind}" for kind in _NAMED_READERS)])
    raise ValueError(f"the access log format has the name {name!r}, which is not known; known are {known}")


def _json_line(exchange: Exchange) -> str:
    """The JSON object for a request; what is not there is null. Its escapes leave ASCII only."""
    scope, call = exchange.scope, exchange.call
    headers = scope["headers"]
    client = scope.get("client")
    referer, user_agent = _header_of(headers, b"referer"), _header_of(headers, b"user-agent")
    return json.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": exchange.request_id,
            "client": client[0] if client else None,
            "user": _basic_user(exchange),
            "method": scope["method"],
            "path": scope["path"],
            "query": scope.get("query_string", b"").decode("latin-1"),
            "protocol": "HTTP/" + scope["http_version"],
            "status": exchange.status,
            "bytes_sent": exchange.sent,
            "bytes_received": exchange.received,
            "duration_ms": round(exchange.seconds * 1000, 3),
            "waited_ms": None if call.waited is None else round(call.waited * 1000, 3),
            "app_ms": None if call.ran is None else round(call.ran * 1000, 3),
            "client_left": exchange.has_left,
            "referer": None if referer is None else referer.decode("latin-1"),
            "user_agent": None if user_agent is None else user_agent.decode("latin-1"),
            "process": os.getpid(),
        }
    )
