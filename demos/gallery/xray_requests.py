"""What a visitor may ask for, within limits; and requests that are worth a look."""

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
        raise ValueError("it has a character that cannot be printed")
    return path


def _check_headers(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS_SIZE:
        raise ValueError(f"they have more than {MAX_HEADERS_SIZE:,} characters")
    for name, value in headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no name of a header")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name[:40]!r} has a character that none may have")
        if name.lower() in _FRAMING:
            raise ValueError(f"{name} is made of the body, and cannot be chosen")
    return headers


def _check_body(body: str) -> str:
    if len(body.encode()) > MAX_BODY:
        raise ValueError(f"it has more than {MAX_BODY:,} bytes")
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
    """A link to this page that fills in the form."""

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
        "Layer upon layer",
        [
            Prepared("Bare WSGI", "No framework: one call, one callback.", {"subject": "bare", "path": "/"}),
            Prepared(
                "Werkzeug", "A library: Flask's steps are missing.", {"subject": "werkzeug", "path": "/"}
            ),
            Prepared("Flask", "A framework calls you: count the steps.", {"subject": "flask", "path": "/"}),
            _subject("A page", "Hooks around a view, and a template.", "/page/?name=Ada"),
        ],
    ),
    Group(
        "Not every request reaches a view",
        [
            _subject("No such page", "404: Werkzeug has no rule for it.", "/nowhere"),
            _subject("Wrong method", "405: a rule, but not for this method.", "/page/", method="DELETE"),
            _subject("A slash too few", "308, before any view: the rule ends in a slash.", "/page"),
            _subject("A redirect", "302: this one is the view's answer.", "/moved"),
            _subject("Refused", "403: abort() is an exception.", "/forbidden"),
            _subject("An error of yours", "409: an error handler answers it.", "/sold-out"),
            _subject("A mistake", "500: nobody handles it, so Flask does.", "/broken"),
        ],
    ),
    Group(
        "Bodies and headers",
        [
            _subject("A stream", "Each chunk leaves when it is made.", "/stream"),
            _subject("A stream on the loop", "The same, and no thread is held.", "/async-stream"),
            _subject("A stream without end", "It ends when the client leaves, after 10\u00a0s.", "/endless"),
            _subject(
                "An upload", "Read while it arrives.", "/upload", method="POST", body="Some bytes.\n" * 50
            ),
            _subject("A session", "A signed cookie: only its length is shown.", "/visits"),
            _subject(
                "Headers",
                "What becomes of them in the environ, and what is dropped.",
                "/page/",
                headers="Accept-Language: de\nX-Tag: one\nX-Tag: two\nX_Tag: three\nProxy: evil.example",
            ),
        ],
    ),
    Group(
        "Side by side",
        [
            _subject("Three adapters", "One view on each.", "/sync", way=["bridge", "a2wsgi", "asgiref"]),
            _subject("Sync and async", "In a thread, and on the loop.", "/sync", beside="/async"),
            _subject(
                "An async view, twice",
                "On the loop, and as Flask has it: in a thread, on a loop of its own.",
                "/async",
                way=["bridge", "bridge-threads"],
            ),
            _subject(
                "Async on the others",
                "They give it an event loop of its own, in a thread.",
                "/async",
                way=["bridge", "a2wsgi", "asgiref"],
            ),
        ],
    ),
    Group(
        "In the demos",
        [
            Prepared(
                "The site", "A real page: languages, blueprints, templates.", {"subject": "site", "path": "/"}
            ),
            Prepared(
                "The API refuses", "401, as a problem document.", {"subject": "api", "path": "/sightings"}
            ),
            Prepared(
                "Ten at once",
                "An async view waits for ten answers.",
                {"subject": "async_views", "path": "/fan-out"},
            ),
            Prepared("A CSV file", "Left after 64 KiB of it.", {"subject": "streaming", "path": "/export"}),
        ],
    ),
]
