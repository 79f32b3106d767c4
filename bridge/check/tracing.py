"""`bridge trace`: what is typed → a request, and what has become of it → lines for a terminal, or JSON."""

import asyncio
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from bridge.interfaces import Interface
from bridge.server.application import adapt, as_asgi3
from bridge.server.loading import LoadedApp
from bridge.server.settings import ServeSettings
from bridge.trace import Layer, StepRecord, TracedApp, TracedRequest, TraceRecord

__all__ = ["AskedRequest", "parse_request", "print_trace", "trace"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

_FORM = ("content-type", "application/x-www-form-urlencoded")  # as curl has it

_COLORS: dict[Layer, str] = {
    "ASGI": "blue",
    "environ": "cyan",
    "runner": "magenta",
    "WSGI": "cyan",
    "Werkzeug": "yellow",
    "Flask": "green",
    "view": "bright_green",
    "Jinja2": "red",
}
_LAYER_WIDTH = max(map(len, _COLORS))

# Columns, where the output is not to a terminal.
_WIDTH = 120
_LEAST_WIDTH = 60


@dataclass(frozen=True)
class AskedRequest:
    """The request that a command line asks for."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def parse_request(
    app: str | None, words: Sequence[str], headers: Sequence[str], data: Sequence[str]
) -> AskedRequest:
    """Read what was typed, as curl would.

    Args:
        app: what stood in the place of APP.
        words: METHOD, which may be missing, and PATH.
        headers: as `Name: value`.
        data: parts of the body, to be joined by `&`: texts, or `@` and the name of a file, `-` for stdin.

    Raises:
        click.UsageError: it makes no request.
    """
    if not words:
        missing = "PATH" if app is None or not app.startswith("/") else f"APP before the path {app!r}"
        raise click.UsageError(f"Missing {missing}: bridge trace APP [METHOD] PATH, as in app:app /users/7")
    if len(words) > 2:
        raise click.UsageError(f"[METHOD] PATH are two words at most; got {' '.join(words)!r}")
    *methods, path = words
    method = methods[0].upper() if methods else "POST" if data else "GET"
    if not _TOKEN.fullmatch(method):
        raise click.UsageError(f"METHOD is a word such as GET; got {method!r}")
    if not path.startswith("/"):
        raise click.UsageError(f"PATH begins with a slash, as /users/7 does; got {path!r}")
    fields = [_parse_header(header) for header in headers]
    if data and "content-type" not in {name.lower() for name, _ in fields}:
        fields.append(_FORM)
    return AskedRequest(method, path, tuple(fields), b"&".join(map(_read_data, data)))


def _parse_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or any(character in value for character in "\r\n\0"):
        raise click.UsageError(f"-H takes a header field such as 'Accept: text/html'; got {header!r}")
    # To the app these are the bytes that were typed.
    return name, value.strip().encode("utf-8", "surrogateescape").decode("latin-1")


def _read_data(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode("utf-8", "surrogateescape")
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise click.UsageError(f"-d {data}: cannot read {data[1:]!r}: {error.strerror}") from None


def trace(
    loaded: LoadedApp, settings: ServeSettings, asked: AskedRequest, *, root_path: str, deadline: float
) -> TracedRequest:
    """Start an app in memory, as it would be served, and make a request to it.

    Args:
        loaded: the app.
        settings: which adapter runs a WSGI app, and how.
        asked: the request.
        root_path: where the app is mounted.
        deadline: after how many seconds to leave a response that has not ended.

    Raises:
        BridgeError: the app does not start, or the adapter is not installed.
    """
    app: Any = loaded.app if loaded.interface == "wsgi" else as_asgi3(loaded)

    async def run() -> TracedRequest:
        interface: Interface = "wsgi" if loaded.interface == "wsgi" else "asgi"
        traced_app = TracedApp(
            app, adapt=lambda wsgi_app: adapt(wsgi_app, settings), interface=interface, name=loaded.name
        )
        async with traced_app as traced:
            return await traced.request(
                asked.method, asked.path, asked.headers, asked.body, root_path=root_path, deadline=deadline
            )

    return asyncio.run(run())


def print_trace(
    traced: TracedRequest, *, as_json: bool, with_body: bool, use_colors: bool | None = None
) -> None:
    """Print what has become of a request.

    Args:
        traced: the request.
        as_json: print its record, for programs.
        with_body: print the body of the response after the rest.
        use_colors: None for whether stdout is a terminal, and NO_COLOR is not set.
    """
    record = traced.as_json()
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    if use_colors is None:
        use_colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    for line in _lines(record, width):
        click.echo(line, color=use_colors)
    if with_body:
        click.echo()
        click.echo(bytes(traced.body), nl=not traced.body.endswith(b"\n"))


# Lines


def _lines(record: TraceRecord, width: int) -> Iterator[str]:
    steps = record["steps"]
    widest = max((len(_milliseconds(step["ended"] or step["began"])) for step in steps), default=0)
    threads: dict[int, str] = {}
    for step in steps:
        parent = threads.get(step["parent"], "loop") if step["parent"] is not None else "loop"
        threads[step["id"]] = step["thread"]
        yield from _step_lines(step, widest, width, parent_thread=parent)
    if record["missed"]:
        yield f"… and {record['missed']:,} steps more"
    yield ""
    yield _summary(record)


def _step_lines(step: StepRecord, widest: int, width: int, *, parent_thread: str) -> Iterator[str]:
    began = _milliseconds(step["began"]).rjust(widest)
    lasted = "" if step["ended"] == step["began"] else _duration(step)
    margin = f"{began}  {lasted.rjust(widest + 1)}  "
    indent = "  " * step["depth"]
    layer = step["layer"].ljust(_LAYER_WIDTH)
    room = width - len(margin) - _LAYER_WIDTH - 2 - len(indent)
    place = "" if step["thread"] == parent_thread else f"  [{step['thread']}]"
    text, more = _text(step), []
    if step["layer"] == "runner" and len(text) > room - len(place):  # the reason is what one looks for here
        text, more = step["name"], _wrapped(_printable(step["detail"]), room - 2)
    text = _shortened(text, room - len(place))
    yield (
        click.style(margin, dim=True)
        + click.style(layer, fg=_COLORS[step["layer"]])
        + "  "
        + indent
        + _styled(step, text)
        + click.style(place, fg=_COLORS["runner"])
    )
    blank = " " * (width - room + 2)
    for line in (*more, *_held(step, room - 2)):
        yield click.style(blank + _shortened(line, room - 2), dim=True)


def _styled(step: StepRecord, text: str) -> str:
    if step["failed"]:
        return click.style(text, fg="red", bold=True)
    return click.style(text, dim=True) if step["name"].startswith("signal ") else text


def _text(step: StepRecord) -> str:
    """What the step is, once: the detail often says the name, too."""
    name, detail = step["name"], step["detail"]
    if name == "start_response":
        return f"start_response({detail})"
    return _printable(detail if name in detail else f"{name}  {detail}")


def _held(step: StepRecord, room: int) -> Iterator[str]:
    """Lines of what the layer held, for those that are about that."""
    facts: Mapping[str, Any] = step["facts"]
    if step["layer"] == "ASGI" and step["name"] == "call":
        yield from _scope_lines(facts["scope"], room)
    elif step["layer"] == "environ":
        yield from _environ_lines(facts["environ"], facts["headers"], room)
    elif step["name"] == "on the loop" or step["name"] == "in a thread":
        waited = "" if facts["waited"] is None else f"{_milliseconds(facts['waited'])} ms in the queue, "
        yield f"{waited}{_milliseconds(facts['since_call'])} ms after the ASGI call"


def _scope_lines(scope: Mapping[str, Any], room: int) -> Iterator[str]:
    yield from _packed((f"{key}={_as_text(value)}" for key, value in scope.items() if key != "headers"), room)
    yield from _packed((f"{name}: {value}" for name, value in scope["headers"]), room)


def _environ_lines(
    environ: Mapping[str, Any], headers: Sequence[Mapping[str, Any]], room: int
) -> Iterator[str]:
    """Which header is which key, and then the keys that are of no header."""
    width = max((len(fate["header"]) for fate in headers), default=0)
    for fate in headers:
        why = f"  ({fate['why']})" if fate["why"] else ""
        yield _printable(f"{fate['header']:{width}} → {fate['key'] or 'dropped'}{why}")
    keys = {fate["key"] for fate in headers}
    yield from _packed(
        (f"{key}={_as_text(value)}" for key, value in environ.items() if key not in keys), room
    )


def _packed(texts: Iterable[str], room: int) -> Iterator[str]:
    """As many in a line as there is room for."""
    line = ""
    for text in map(_printable, texts):
        if line and len(line) + 2 + len(text) > room:
            yield line
            line = ""
        line = f"{line}  {text}" if line else text
    if line:
        yield line


def _wrapped(text: str, room: int) -> list[str]:
    """All of a text, in lines that fit."""
    return textwrap.wrap(text, room, break_on_hyphens=False)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _summary(record: TraceRecord) -> str:
    response = record["response"]
    if response is None:
        return click.style(f"no response: {_printable(record['error'])}", fg="red", bold=True)
    status = response["status"]
    phrase = HTTPStatus(status).phrase if status in {each.value for each in HTTPStatus} else ""
    types = [value for name, value in response["headers"] if name == "content-type"]
    size = "1 byte" if response["size"] == 1 else f"{response['size']:,} bytes"
    parts = [*types, size, f"{_milliseconds(record['duration'])} ms"]
    if record["adapter"] is not None:
        parts.append(f"adapter {record['adapter']}")
    if record["error"]:
        parts.append(record["error"])
    color = "green" if status < 400 and record["outcome"] == "answered" else "red"
    return click.style(f"{status} {phrase}".strip(), fg=color, bold=True) + _printable(
        "".join(f" · {part}" for part in parts)
    )


def _duration(step: StepRecord) -> str:
    return "open" if step["ended"] is None else f"+{_milliseconds(step['ended'] - step['began'])}"


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.2f}"


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(room - 1, 1)]}…"


def _printable(text: str) -> str:
    """Text that does nothing to a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
