"""`bridge trace`: what is typed → a request, and what has become of it → lines for a terminal, or JSON."""

import asyncio
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

import click

from bridge.server.application import adapt, as_asgi3
from bridge.server.loading import LoadedApp
from bridge.server.settings import ServeSettings
from bridge.trace import LAYERS, StepRecord, TracedApp, TracedRequest, TraceRecord

__all__ = ["AskedRequest", "parse_request", "print_trace", "trace"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

_FORM = ("content-type", "application/x-www-form-urlencoded")  # as curl has it

_COLORS = dict(
    zip(LAYERS, ("blue", "cyan", "magenta", "cyan", "yellow", "green", "bright_green", "red"), strict=True)
)
_LAYER_WIDTH = max(map(len, LAYERS))

# Columns, where the output is not to a terminal.
_WIDTH = 120
_LEAST_WIDTH = 60


AskedRequest: TypeAlias = tuple[str, str, list[tuple[str, str]], bytes]
"""Method, path, header fields and body."""


def parse_request(
    app: str | None, words: Sequence[str], headers: Sequence[str], data: Sequence[str]
) -> AskedRequest:
    """Read METHOD, which may be missing, and PATH; as curl would, fields for -H and parts of the body for -d.

    Raises:
        click.UsageError: it makes no request; `app` is what stood in the place of APP.
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
    return method, path, fields, b"&".join(map(_read_data, data))


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
    """Start an app in memory, as it would be served with these settings, and make a request to it.

    After `deadline` seconds a response that has not ended is left.

    Raises:
        BridgeError: the app does not start, or the adapter is not installed.
    """

    async def run() -> TracedRequest:
        if loaded.interface == "wsgi":
            app = TracedApp(loaded.app, adapt=lambda wsgi: adapt(wsgi, settings), interface="wsgi")
        else:
            app = TracedApp(as_asgi3(loaded), interface="asgi")
        async with app:
            return await app.request(*asked, root_path=root_path, deadline=deadline)

    return asyncio.run(run())


def print_trace(
    traced: TracedRequest, *, as_json: bool, with_body: bool, use_colors: bool | None = None
) -> None:
    """Print what has become of a request: as JSON, or as lines, then its body if that is wanted.

    `use_colors` is None for whether stdout is a terminal, and NO_COLOR is not set.
    """
    record = traced.as_json()
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    if use_colors is None:
        use_colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = max(_LEAST_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    for line in (*_lines(record["steps"], width), *_summary(record)):
        click.echo(line, color=use_colors)
    if with_body:
        click.echo(b"\n%s" % traced.body, nl=not traced.body.endswith(b"\n"))


def _lines(steps: Sequence[StepRecord], width: int) -> Iterator[str]:
    widest = max((len(_milliseconds(step["ended"] or step["began"])) for step in steps), default=0)
    threads: dict[int | None, str] = {None: "loop"}
    for step in steps:
        threads[step["id"]] = step["thread"]
        place = "" if step["thread"] == threads.get(step["parent"]) else f"  [{step['thread']}]"
        began = _milliseconds(step["began"]).rjust(widest)
        lasted = "open" if step["ended"] is None else f"+{_milliseconds(step['ended'] - step['began'])}"
        if step["ended"] == step["began"]:
            lasted = ""
        margin = f"{began}  {lasted.rjust(widest + 1)}  "
        indent = "  " * step["depth"]
        room = width - len(margin) - _LAYER_WIDTH - 2 - len(indent)
        yield (
            click.style(margin, dim=True)
            + click.style(step["layer"].ljust(_LAYER_WIDTH), fg=_COLORS[step["layer"]])
            + f"  {indent}"
            + click.style(_shortened(_text(step), room - len(place)), fg="red" if step["failed"] else None)
            + click.style(place, fg=_COLORS["runner"])
        )
        for line in _held(step, room - 2):
            yield click.style(" " * (width - room + 2) + _shortened(_printable(line), room - 2), dim=True)


def _text(step: StepRecord) -> str:
    """What the step is, in its first line."""
    name, detail = step["name"], _printable(step["detail"])
    if step["layer"] == "runner":
        return name
    return detail if name in detail else f"{name}  {detail}"


def _held(step: StepRecord, room: int) -> Iterator[str]:
    """Further lines, of what the layer held."""
    facts: Mapping[str, Any] = step["facts"]
    if step["layer"] == "runner":
        yield from textwrap.wrap(step["detail"], room, break_on_hyphens=False)
        if facts["waited"] is not None:
            yield f"{_milliseconds(facts['waited'])} ms in the queue"
    elif step["layer"] == "environ":
        widest = max((len(fate["header"]) for fate in facts["headers"]), default=0)
        for fate in facts["headers"]:
            why = f"  ({fate['why']})" if fate["why"] else ""
            yield f"{fate['header']:{widest}} → {fate['key'] or 'dropped'}{why}"
        of_headers = {fate["key"] for fate in facts["headers"]}
        yield from _packed((pair for pair in facts["environ"].items() if pair[0] not in of_headers), room)
    elif step["name"] == "call":
        yield from _packed((pair for pair in facts["scope"].items() if pair[0] != "headers"), room)
        yield from _packed(facts["scope"]["headers"], room)


def _packed(pairs: Iterable[tuple[str, object]], room: int) -> list[str]:
    """Names and values, as many in a line as there is room for."""
    texts = (f"{key}={value or json.dumps(value)}" for key, value in pairs)
    return textwrap.wrap("  ".join(map(_printable, texts)), room, break_on_hyphens=False)


def _summary(record: TraceRecord) -> Iterator[str]:
    if record["missed"]:
        yield f"… and {record['missed']:,} steps more"
    yield ""
    response = record["response"]
    if response is None:
        yield click.style(f"no response: {_printable(record['error'])}", fg="red", bold=True)
        return
    status = response["status"]
    phrase = HTTPStatus(status).phrase if status in {each.value for each in HTTPStatus} else ""
    size = "1 byte" if response["size"] == 1 else f"{response['size']:,} bytes"
    parts = [
        *(value for name, value in response["headers"] if name == "content-type"),
        size,
        f"{_milliseconds(record['duration'])} ms",
        *([] if record["adapter"] is None else [f"adapter {record['adapter']}"]),
        *([record["error"]] if record["error"] else []),
    ]
    color = "green" if status < 400 and record["outcome"] == "answered" else "red"
    yield click.style(f"{status} {phrase}".strip(), fg=color, bold=True) + _printable(
        "".join(f" · {part}" for part in parts)
    )


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.2f}"


def _shortened(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(room - 1, 1)]}…"


def _printable(text: str) -> str:
    """Text that does nothing to a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
