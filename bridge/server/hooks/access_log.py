"""The access log: a line for every request, in a format that the operator chooses, or as JSON.

    LogLines('%(h)s "%(r)s" %(s)s %(b)s %(M)s ms, %(W)s of them waiting, %(id)s')

Names are gunicorn's, and a few more. Values from the client are escaped: whatever it sends, a line stays one
line, and a quoted value stays between its quotes.

| name | value |
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
| `{name}i` `{name}o` | a header of the request, and of the response |
| `{name}e` | a variable of the process's environment |

`-` stands for a missing value. `%(a).80s` cuts, `%(m)-7s` fills up with spaces.

A request that the server has refused has a line, too. It may not have been HTTP, so that no method or path
could be read: the request line is `-` then.
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
from functools import lru_cache
from typing import TypeAlias, cast
from urllib.parse import quote

from uvicorn.logging import AccessFormatter

from bridge.core.link import Head
from bridge.http.exchange import Exchange, Hook
from bridge.http.request import Request
from bridge.types import override

__all__ = ["JSON", "LogLines", "PlainFormatter", "PlainLog", "compile_format"]

JSON = "json"
"""In place of a format: every line is a JSON object."""


class LogLines(Hook):
    """Logs a line for every request, to the logger `bridge.access`, at level INFO.

    Args:
        format: a %-style string with the names above, or "json".

    Raises:
        ValueError: the format has an unknown name, or is ill-formed.

    The line is written when the response has ended, the client has left, or the app has failed; for a WSGI
    app, once the call has ended, too, so that the time in the app is known. An app that fails before its
    response has the status 500, which the server will send. The time ends with the response, whatever the
    app does afterwards.
    """

    def __init__(self, format: str) -> None:
        self._line_of = compile_format(format)
        self._logger = logging.getLogger("bridge.access")

    def on_end(self, exchange: Exchange) -> None:
        """Write the line."""
        if self._logger.isEnabledFor(logging.INFO):
            _write(self._logger, self._line_of(exchange), ())


class PlainLog(Hook):
    """Logs uvicorn's own line for every request, to its logger `uvicorn.access`, when the response begins.

    The record has the arguments that uvicorn's `AccessFormatter` knows. A request that the server has refused
    has its line at the end, if its method could be read.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger("uvicorn.access")

    def on_head(self, exchange: Exchange, head: Head) -> Head:
        """Write the line, and return the head as it is."""
        self._log(exchange.request, head.status)
        return head

    def on_end(self, exchange: Exchange) -> None:
        """Write the line of a request that was refused."""
        if exchange.refusal is not None and exchange.head is None and exchange.request.method:
            self._log(exchange.request, exchange.refusal.status)

    def _log(self, request: Request, status: int) -> None:
        if not self._logger.isEnabledFor(logging.INFO):
            return
        # The form of uvicorn's get_path_with_query_string().
        path = quote(request.decoded_path) or "-"
        if request.query:
            path = f"{path}?{request.query.decode('ascii')}"
        host, port = request.client or ("", None)
        address = host if port is None else f"{host}:{port}"  # as its get_client_addr()
        values = address, request.method, path, request.version, status
        _write(self._logger, '%s - "%s %s HTTP/%s" %d', values)


class PlainFormatter(AccessFormatter):
    """Formats the records of `PlainLog` as uvicorn does; without colours, without two copies of each record.

    Those, and the search of the stack that `PlainLog` leaves out, are half of the 36 us of uvicorn's line.
    """

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        if self.use_colors or not isinstance(record.args, tuple):
            return super().formatMessage(record)
        address, method, path, version, status = record.args
        vars(record).update(
            client_addr=address,
            request_line=f"{method} {path} HTTP/{version}",
            status_code=self.get_status_code(cast(int, status)),
            levelprefix=f"{record.levelname + ':':9}",
        )
        return logging.Formatter.formatMessage(self, record)


def _write(logger: logging.Logger, message: str, values: tuple[object, ...]) -> None:
    """Log at level INFO, as `Logger.info` does, without its search of the stack for the caller."""
    logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, values, None))


# Escaping: for text between quotes, and for a word without quotes.
_UNSAFE_IN_TEXT = re.compile(r"[^ !#-\[\]-~]")
_UNSAFE_IN_WORD = re.compile(r"[^!#-\[\]-~]")


def _text(value: bytes) -> str:
    """Write `\\xNN` for all but printable ASCII, and for quotes and backslashes, as nginx does."""
    decoded = value.decode("latin-1")
    return _UNSAFE_IN_TEXT.sub(_escape, decoded) if _UNSAFE_IN_TEXT.search(decoded) else decoded


def _word(value: str) -> str:
    """Do the same for a value without quotes: a space in it would move the fields behind it."""
    if _UNSAFE_IN_WORD.search(value):
        return _UNSAFE_IN_WORD.sub(_escape, value.encode("utf-8", "surrogatepass").decode("latin-1"))
    return value


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02X}"


_Reader: TypeAlias = Callable[[Exchange], object]
"""Returns the value of one name in a format."""


def _request_line(exchange: Exchange) -> str:
    request = exchange.request
    if not request.method or not request.path:
        return "-"
    target = request.path + b"?" + request.query if request.query else request.path
    return _text(b"%b %b HTTP/%b" % (request.method.encode(), target, request.version.encode()))


def _header_of(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """Return a header's value; all of them with commas between, if there are several (RFC 9110, 5.3)."""
    found = [value for name, value in headers if name == wanted]
    return b", ".join(found) if found else None


def _basic_user(exchange: Exchange) -> str | None:
    """Return the user's name in `Authorization: Basic` (RFC 7617); nobody has checked the password here."""
    value = _header_of(exchange.request.headers, b"authorization")
    if value is None or value[:6].lower() != b"basic ":
        return None
    try:
        user, colon, _ = base64.b64decode(value[6:].strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return user.decode("utf-8", "replace") if colon else None


def _milliseconds(seconds: float | None, digits: int) -> float | None:
    return None if seconds is None else round(seconds * 1000, digits)


def _or_dash(value: object) -> object:
    return "-" if value is None else value


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=1)
def _local_time(second: int) -> str:
    """Return a time in the form of the common log format, whatever the locale."""
    now = time.localtime(second)
    return time.strftime(f"[%d/{_MONTHS[now.tm_mon - 1]}/%Y:%H:%M:%S %z]", now)


def _request_header(name: str) -> _Reader:
    wanted = name.lower().encode("ascii")
    return lambda exchange: _text(_header_of(exchange.request.headers, wanted) or b"-")


def _response_header(name: str) -> _Reader:
    wanted = name.lower().encode("ascii")
    return lambda exchange: _text((exchange.head and _header_of(exchange.head.headers, wanted)) or b"-")


_READERS: dict[str, _Reader] = {
    "h": lambda exchange: _word((exchange.request.client or ("-", None))[0] or "-"),
    "l": lambda exchange: "-",
    "u": lambda exchange: _word(_basic_user(exchange) or "-"),
    "t": lambda exchange: _local_time(int(time.time())),
    "r": _request_line,
    "m": lambda exchange: _word(exchange.request.method) or "-",
    "U": lambda exchange: _word(exchange.request.decoded_path) or "-",
    "q": lambda exchange: _text(exchange.request.query),
    "H": lambda exchange: "HTTP/" + _word(exchange.request.version) if exchange.request.version else "-",
    "s": lambda exchange: _or_dash(exchange.status),
    "B": lambda exchange: exchange.sent,
    "b": lambda exchange: exchange.sent or "-",
    "f": _request_header("referer"),
    "a": _request_header("user-agent"),
    "T": lambda exchange: int(exchange.seconds),
    "M": lambda exchange: int(exchange.seconds * 1000),
    "D": lambda exchange: int(exchange.seconds * 1_000_000),
    "L": lambda exchange: f"{exchange.seconds:.6f}",
    "p": lambda exchange: os.getpid(),
    "W": lambda exchange: _or_dash(exchange.call and _milliseconds(exchange.call.waited, 1)),
    "A": lambda exchange: _or_dash(exchange.call and _milliseconds(exchange.call.ran, 1)),
    "I": lambda exchange: exchange.received,
    "x": lambda exchange: "left" if exchange.has_left else "-",
    "id": lambda exchange: exchange.request_id or "-",
}

_NAMED_READERS: dict[str, Callable[[str], _Reader]] = {
    "i": _request_header,
    "o": _response_header,
    "e": lambda name: lambda exchange: _text(os.fsencode(os.environ.get(name, "-"))),
}

# `%(name)s`, with a width or a precision; `%%`; or a percent sign that is neither.
_DIRECTIVE = re.compile(r"%(?:\((?P<name>[^)]*)\)(?P<size>-?[0-9]*(?:\.[0-9]+)?)s|(?P<percent>%)|)")
_NAMED = re.compile(r"\{(?P<name>[^{}\x00-\x20\x7f-\U0010ffff]+)\}(?P<kind>[ioe])")


def compile_format(format: str) -> Callable[[Exchange], str]:
    """Return the function that makes the lines of a format for `LogLines`.

    Raises:
        ValueError: it is wrong; the message says where, and which names are known.
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
        name = directive["name"]
        reader = _READERS.get(name)
        if reader is None:
            named = _NAMED.fullmatch(name)
            if named is None:
                known = ", ".join([*_READERS, *(f"{{name}}{kind}" for kind in _NAMED_READERS)])
                raise ValueError(
                    f"the access log format has the name {name!r}, which is not known; known are {known}"
                )
            reader = _NAMED_READERS[named["kind"]](named["name"])
        readers.append(reader)
        return f"%{directive['size']}s"

    template = _DIRECTIVE.sub(take, format)
    return lambda exchange: template % tuple([read(exchange) for read in readers])


def _json_line(exchange: Exchange) -> str:
    """Return the JSON object for a request, in ASCII; a missing value is null."""
    request, call = exchange.request, exchange.call
    headers = request.headers
    referer, user_agent = _header_of(headers, b"referer"), _header_of(headers, b"user-agent")
    return json.dumps(
        {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": exchange.request_id,
            "client": request.client[0] if request.client else None,
            "user": _basic_user(exchange),
            "method": request.method or None,
            "path": request.decoded_path or None,
            "query": request.query.decode("latin-1") if request.path else None,
            "protocol": "HTTP/" + request.version if request.version else None,
            "status": exchange.status,
            "bytes_sent": exchange.sent,
            "bytes_received": exchange.received,
            "duration_ms": _milliseconds(exchange.seconds, 3),
            "waited_ms": call and _milliseconds(call.waited, 3),
            "app_ms": call and _milliseconds(call.ran, 3),
            "client_left": exchange.has_left,
            "referer": None if referer is None else referer.decode("latin-1"),
            "user_agent": None if user_agent is None else user_agent.decode("latin-1"),
            "process": os.getpid(),
        }
    )
