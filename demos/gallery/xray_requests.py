"""What a visitor may ask for, and its limits; and examples to begin with."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["METHODS", "PREPARED", "Group", "Prepared", "Wanted"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

MAX_PATH = 2000
MAX_BODY = 16 * 1024
MAX_HEADERS = 20
MAX_HEADERS_SIZE = 4096

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t -~\x80-\xff]*")

# They say where a body ends, which is known.
_FRAMING = ("content-length", "transfer-encoding")


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("a path begins with a slash")
    if not path.isprintable():
        raise ValueError("the path has a character that cannot be printed")
    return path


def _check_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS_SIZE:
        raise ValueError(f"the headers have more than {MAX_HEADERS_SIZE:,} characters")
    for name, value in headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not the name of a header")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name[:40]!r} has a character that no header may have")
        if name.lower() in _FRAMING:
            raise ValueError(f"{name} follows from the body, and cannot be set")
    return headers


def _check_body(body: str) -> str:
    if len(body.encode()) > MAX_BODY:
        raise ValueError(f"the body has more than {MAX_BODY:,} bytes")
    return body


class Wanted(BaseModel):
    """A request that is to be traced: to one of the gallery's apps, never to an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Literal[
        "subject", "bare", "werkzeug", "flask", "hello", "streaming", "async_views", "site", "api"
    ]
    way: Literal["bridge", "bridge-threads", "a2wsgi", "asgiref"]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    path: Annotated[str, Field(max_length=MAX_PATH), AfterValidator(_check_path)]
    headers: Annotated[
        list[tuple[str, str]], Field(max_length=MAX_HEADERS), AfterValidator(_check_headers)
    ] = []
    body: Annotated[str, AfterValidator(_check_body)] = ""


class Prepared(NamedTuple):
    """An example: a link to this page that fills in the form."""

    title: str
    teaches: str
    query: dict[str, Any]


class Group(NamedTuple):
    title: str
    requests: list[Prepared]


def _subject(title: str, teaches: str, path: str, **more: Any) -> Prepared:
    return Prepared(title, teaches, {"subject": "subject", "path": path, **more})


PREPARED = [
    Group(
        "Start here",
        [
            _subject(
                "A page", "Hooks run around the view, and the view renders a template.", "/page/?name=Ada"
            )
        ],
    ),
    Group(
        "Layer upon layer",
        [
            Prepared("Bare WSGI", "No framework: one call, one callback.", {"subject": "bare", "path": "/"}),
            Prepared(
                "Werkzeug",
                "A library: your code calls it. Flask's steps are missing.",
                {"subject": "werkzeug", "path": "/"},
            ),
            Prepared(
                "Flask",
                "A framework: it calls your code. Count the steps that it adds.",
                {"subject": "flask", "path": "/"},
            ),
        ],
    ),
    Group(
        "Not every request reaches a view",
        [
            _subject("No such page", "404: no route matches, so no view runs.", "/nowhere"),
            _subject(
                "Wrong method",
                "405: a route matches the path, but not the method.",
                "/page/",
                method="DELETE",
            ),
            _subject(
                "Missing slash", "308: the route ends in a slash. Werkzeug redirects, no view runs.", "/page"
            ),
            _subject("A redirect", "302: here the view itself redirects.", "/moved"),
            _subject("Forbidden", "403: the view calls abort(), which raises an exception.", "/forbidden"),
            _subject("A handled error", "409: the view raises, and your error handler answers.", "/sold-out"),
            _subject(
                "A bug", "500: the view divides by zero. Nobody handles that, so Flask does.", "/broken"
            ),
        ],
    ),
    Group(
        "Bodies and headers",
        [
            _subject(
                "A stream", "The view returns a generator. Each chunk is sent when it is made.", "/stream"
            ),
            _subject(
                "An async stream",
                "The same on the event loop: between chunks, no thread waits.",
                "/async-stream",
            ),
            _subject(
                "An endless stream", "The client leaves after 10\u00a0s, and the generator ends.", "/endless"
            ),
            _subject(
                "An upload",
                "The view reads the body while it arrives.",
                "/upload",
                method="POST",
                body="Some bytes.\n" * 50,
            ),
            _subject("A session", "A signed cookie. The X-ray shows no more than its length.", "/visits"),
            _subject(
                "Headers",
                "Which headers reach the environ, and which are dropped. Open the step “environ”.",
                "/page/",
                headers="Accept-Language: de\nX-Tag: one\nX-Tag: two\nX_Tag: three\nProxy: evil.example",
            ),
        ],
    ),
    Group(
        "Compare",
        [
            _subject(
                "Three adapters",
                "One view on each. Compare the hops and the sends; the times of one run say nothing.",
                "/sync",
                way=["bridge", "a2wsgi", "asgiref"],
            ),
            _subject(
                "Sync and async",
                "A plain view in a thread, and an async view on the event loop.",
                "/sync",
                beside="/async",
            ),
            _subject(
                "An async view, twice",
                "On the event loop, and as Flask alone runs it: in a thread, on a loop of its own.",
                "/async",
                way=["bridge", "bridge-threads"],
            ),
            _subject(
                "Async on other adapters",
                "They give each call a thread, and an event loop of its own in it.",
                "/async",
                way=["bridge", "a2wsgi", "asgiref"],
            ),
        ],
    ),
    Group(
        "From the demos",
        [
            Prepared(
                "The site", "A real page: languages, blueprints, templates.", {"subject": "site", "path": "/"}
            ),
            Prepared(
                "The API refuses",
                "401, as a problem document (RFC 9457).",
                {"subject": "api", "path": "/sightings"},
            ),
            Prepared(
                "Ten at once",
                "An async view waits for ten answers at the same time.",
                {"subject": "async_views", "path": "/fan-out"},
            ),
            Prepared(
                "A CSV file",
                "A large download. The client leaves after 64 KiB.",
                {"subject": "streaming", "path": "/export"},
            ),
        ],
    ),
]
