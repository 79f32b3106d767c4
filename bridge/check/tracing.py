"""`bridge trace`: what is typed → a request, and what has become of it → lines for a terminal, or JSON."""

import http.client
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bridge.trace import LAYERS, StepRecord, TracedRequest, TraceRecord

__all__ = ["parse_request", "print_trace"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

_COLORS = dict(
    zip(
        LAYERS,
        ("blue", "magenta", "cyan", "cyan", "yellow", "green", "bright_green", "bright_magenta"),
        strict=True,
    )
)
_LAYER_WIDTH = max(map(len, LAYERS))


def parse_request(
    app: str | None, words: Sequence[str], headers: Sequence[str], data: Sequence[str]
) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Return method, path, header fields and body, read as curl would: METHOD may be missing.

    Raises:
        click.UsageError: it makes no request; `app` is the word where APP belongs.
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
        fields.append(("content-type", "application/x-www-form-urlencoded"))
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


def print_trace(traced: TracedRequest, *, as_json: bool, with_body: bool, use_colors: bool | None) -> None:
    """Print what has become of a request: as JSON, or as lines, then its body if that is wanted.

    `use_colors` is None for whether stdout is a terminal, and NO_COLOR is not set.
    """
    record = traced.as_json()
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    if use_colors is None:
        use_colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = max(60, shutil.get_terminal_size((120, 24)).columns)
    for line in (*_lines(record["steps"], width), "", *_summary(record, width)):
        click.echo(line, color=use_colors)
    if with_body:
        click.echo(b"\n%s" % traced.body, nl=not traced.body.endswith(b"\n"))


def _lines(steps: Sequence[StepRecord], width: int) -> Iterator[str]:
    threads: dict[int | None, str] = {None: "loop"}
    for step in steps:
        threads[step["id"]] = step["thread"]
        place = "" if step["thread"] == threads.get(step["parent"]) else f"  [{step['thread']}]"
        lasted = "open" if step["ended"] is None else f"+{(step['ended'] - step['began']) / 1000:.2f}"
        margin = f"{step['began'] / 1000:8.2f} {lasted:>9}  "
        indent = "  " * step["depth"]
        room = width - len(margin) - _LAYER_WIDTH - 2 - len(indent) - len(place)
        name, detail = step["name"], step["detail"]
        first, *more = _wrapped(detail if name in detail else f"{name}  {detail}", room)
        yield (
            click.style(margin, dim=True)
            + click.style(step["layer"].ljust(_LAYER_WIDTH), fg=_COLORS[step["layer"]])
            + f"  {indent}"
            + click.style(first, fg="red" if step["failed"] else None)
            + click.style(place, fg=_COLORS["runner"])
        )
        indent = " " * (width - room - len(place) + 2)
        for line in (*more, *(part for held in _held(step) for part in _wrapped(held, width - len(indent)))):
            yield click.style(indent + line, dim=True)


def _held(step: StepRecord) -> Iterator[str]:
    """What else the layer held."""
    facts: Mapping[str, Any] = step["facts"]
    if step["layer"] == "runner" and facts["waited"] is not None:
        yield f"{facts['waited'] / 1000:.2f} ms in the queue"
    elif step["layer"] == "environ":
        for fate in facts["headers"]:
            yield f"{fate['header']} → " + (fate["key"] or f"dropped  ({fate['why']})")
        yield _packed(facts["environ"].items())
    elif step["name"] == "call":
        yield _packed(pair for pair in facts["scope"].items() if pair[0] != "headers")
        yield _packed(facts["scope"]["headers"])


def _packed(pairs: Iterable[tuple[str, object]]) -> str:
    return "  ".join(f"{key}={value or json.dumps(value)}" for key, value in pairs)


def _wrapped(text: str, room: int) -> list[str]:
    """Lines that fit, and do nothing to a terminal."""
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return textwrap.wrap(text, room, break_on_hyphens=False)


def _summary(record: TraceRecord, width: int) -> list[str]:
    response, error = record["response"], record["error"]
    if response is None:
        return [click.style(line, fg="red", bold=True) for line in _wrapped(f"no response: {error}", width)]
    status = response["status"]
    size = "1 byte" if response["size"] == 1 else f"{response['size']:,} bytes"
    types = [value for name, value in response["headers"] if name == "content-type"]
    title = f"{status} {http.client.responses.get(status, '')}".strip()
    parts = [title, *types, size, f"{record['duration'] / 1000:.2f} ms", *filter(None, [error])]
    color = "green" if status < 400 and record["outcome"] == "answered" else "red"
    return [click.style(line, fg=color, bold=True) for line in _wrapped(" · ".join(parts), width)]
