"""The state machine of a response: every operation in every state, and what it lets through."""

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeAlias
from wsgiref.util import is_hop_by_hop

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.link import Part, plain_answer
from bridge.core.response import Response, State
from bridge.errors import ApplicationError
from bridge.types import ExcInfo
from tests.core.links import Reply, split_bodies, without_collector

Headers: TypeAlias = list[tuple[str, str]]


class Failure(Exception):
    """What an app's error handler reports through exc_info."""


def exc_info() -> ExcInfo:
    try:
        raise Failure("of the app")
    except Failure:
        return sys.exc_info()


def started(headers: Headers | None = None, *, method: str = "GET", status: str = "200 OK") -> Response:
    response = Response(method)
    response.start(status, headers or [])
    return response


def after(response: Response, chunk: bytes) -> Response:
    response.chunk(chunk)
    return response


def ended(response: Response) -> Response:
    response.end()
    return response


def parts_of(response: Response, chunks: Iterable[bytes]) -> list[Part]:
    """What goes out for these chunks, without an end."""
    return [part for chunk in chunks if (part := response.chunk(chunk)) is not None]


def reply_of(response: Response, chunks: Iterable[bytes] = ()) -> Reply:
    """What the client gets if the body is these chunks."""
    parts = parts_of(response, chunks)
    end = response.end()
    return Reply.of(parts if end is None else [*parts, end])


STATES: dict[str, Callable[[], Response]] = {
    "IDLE": lambda: Response("GET"),
    "READY": started,
    "READY, a byte declared": lambda: started([("Content-Length", "1")]),
    "READY, no body": lambda: started(method="HEAD"),
    "BODY": lambda: after(started(), b"x"),
    "BODY, a byte left": lambda: after(started([("Content-Length", "2")]), b"x"),
    "COMPLETE": lambda: ended(started()),
    "COMPLETE, no body": lambda: after(started(method="HEAD"), b"x"),
}

OPERATIONS: dict[str, Callable[[Response], Part | None]] = {
    "start": lambda response: response.start("299", []),
    "start with exc_info": lambda response: response.start("500", [], exc_info()),
    "start with empty exc_info": lambda response: response.start("500", [], (None, None, None)),
    "start, ill-formed": lambda response: response.start("wrong", [], exc_info()),
    "declare": lambda response: response.declare([b"a", b"bc"]),
    "nothing": lambda response: response.chunk(b""),
    "a byte": lambda response: response.chunk(b"a"),
    "two bytes": lambda response: response.chunk(b"ab"),
    "a str": lambda response: response.chunk("a"),  # type: ignore[arg-type]  # the mistake tested
    "end": lambda response: response.end(),
}

Outcome: TypeAlias = str | type[Exception]

# What each operation gives: the part to send, or the exception; and the state, where it is another one then.
# PEP 3333: "The start_response() Callable" for the starts, "Handling the Content-Length Header" for the rest.
TRANSITIONS: dict[str, dict[str, Outcome | tuple[Outcome, State]]] = {
    "IDLE": {
        "start": ("", State.READY),
        "start with exc_info": ("", State.READY),
        "start with empty exc_info": ("", State.READY),
        "start, ill-formed": ApplicationError,
        "declare": "",
        "nothing": "",
        "a byte": ApplicationError,
        "two bytes": ApplicationError,
        "a str": ApplicationError,
        "end": ApplicationError,
    },
    "READY": {
        "start": ApplicationError,
        "start with exc_info": "",
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": ApplicationError,
        "declare": "",
        "nothing": "",
        "a byte": ("200 'a'+", State.BODY),
        "two bytes": ("200 'ab'+", State.BODY),
        "a str": ApplicationError,
        "end": ("200 ''.", State.COMPLETE),
    },
    "READY, a byte declared": {
        "start": ApplicationError,
        "start with exc_info": "",
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": ApplicationError,
        "declare": "",
        "nothing": "",
        "a byte": ("200 'a'.", State.COMPLETE),
        "two bytes": ("200 'a'.", State.COMPLETE),
        "a str": ApplicationError,
        "end": ApplicationError,
    },
    "READY, no body": {
        "start": ApplicationError,
        "start with exc_info": "",
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": ApplicationError,
        "declare": "",
        "nothing": "",
        "a byte": ("200 ''.", State.COMPLETE),
        "two bytes": ("200 ''.", State.COMPLETE),
        "a str": ApplicationError,
        "end": ("200 ''.", State.COMPLETE),
    },
    "BODY": {
        "start": ApplicationError,
        "start with exc_info": Failure,
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": Failure,
        "declare": "",
        "nothing": "",
        "a byte": "'a'+",
        "two bytes": "'ab'+",
        "a str": ApplicationError,
        "end": ("''.", State.COMPLETE),
    },
    "BODY, a byte left": {
        "start": ApplicationError,
        "start with exc_info": Failure,
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": Failure,
        "declare": "",
        "nothing": "",
        "a byte": ("'a'.", State.COMPLETE),
        "two bytes": ("'a'.", State.COMPLETE),
        "a str": ApplicationError,
        "end": ApplicationError,
    },
    "COMPLETE": {
        "start": ApplicationError,
        "start with exc_info": Failure,
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": Failure,
        "declare": "",
        "nothing": "",
        "a byte": "",
        "two bytes": "",
        "a str": ApplicationError,
        "end": "",
    },
    "COMPLETE, no body": {
        "start": ApplicationError,
        "start with exc_info": Failure,
        "start with empty exc_info": ApplicationError,
        "start, ill-formed": Failure,
        "declare": "",
        "nothing": "",
        "a byte": "",
        "two bytes": "",
        "a str": ApplicationError,
        "end": "",
    },
}


def in_short(part: Part | None) -> str:
    """A part as the table has it: the status, and the body with `+` if there is more to come, else `.`."""
    if part is None:
        return ""
    head, data, more = part
    status = "" if head is None else f"{head.status} "
    return f"{status}{repr(data)[1:]}{'+' if more else '.'}"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_transition(state: str, operation: str) -> None:
    response = STATES[state]()
    before = response.state
    row = TRANSITIONS[state][operation]
    expected, state_after = row if isinstance(row, tuple) else (row, before)
    if isinstance(expected, str):
        assert in_short(OPERATIONS[operation](response)) == expected
    else:
        with pytest.raises(expected):
            OPERATIONS[operation](response)
    assert response.state is state_after


def test_table_knows_every_state() -> None:
    assert {name.partition(",")[0] for name in STATES} == {state.name for state in State}
    assert all(STATES[name]().state.name == name.partition(",")[0] for name in STATES)
    assert TRANSITIONS.keys() == STATES.keys()
    assert all(row.keys() == OPERATIONS.keys() for row in TRANSITIONS.values())


@pytest.mark.parametrize(
    ("state", "is_bodiless"), [(state, state.endswith("no body")) for state in STATES], ids=[*STATES]
)
def test_whether_a_body_is_wanted(state: str, is_bodiless: bool) -> None:
    assert STATES[state]().is_bodiless is is_bodiless


@pytest.mark.parametrize("state", STATES)
def test_head_is_known_from_start_response_on(state: str) -> None:
    """Whoever sends a file in place of the body needs it."""
    head = STATES[state]().head
    assert (head is None) is (state == "IDLE")
    assert head is None or head.status == 200


def test_response_completed_in_another_way() -> None:
    """Nothing is due any more, and nothing more goes out."""
    response = started()
    response.state = State.COMPLETE
    assert response.end() is None
    assert response.chunk(b"a") is None


@pytest.mark.parametrize(
    ("state", "left"),
    [
        ("IDLE", None),
        ("READY", None),
        ("READY, a byte declared", 1),
        ("BODY", None),
        ("BODY, a byte left", 1),
    ],
)
def test_bytes_left(state: str, left: int | None) -> None:
    assert STATES[state]().bytes_left == left


# PEP 3333, "The start_response() Callable"; RFC 9112, 4, lets the reason be empty.
GOOD_STATUSES = [
    # id, what the app says, status, reason
    ("usual", "200 OK", 200, b"OK"),
    ("of several words", "404 Not Found", 404, b"Not Found"),
    ("with a reason of the app's", "299 Foo", 299, b"Foo"),
    ("with another reason than the standard one", "200 Fine", 200, b"Fine"),
    ("without a reason", "299", 299, b""),
    ("with an empty reason", "200 ", 200, b""),
    ("with a reason of spaces", "200   ", 200, b""),
    ("with spaces around the reason", "200  OK ", 200, b"OK"),
    ("latin-1 reason", "200 \xe9t\xe9", 200, b"\xe9t\xe9"),
    # PEP 3333 asks for latin-1; no host has ever held an app to it.
    ("reason outside latin-1", "200 caf\xe9 \u2713", 200, b"caf\xe9 ?"),
    ("lone surrogate in the reason", "200 \udcff", 200, b"?"),
    ("tells what the last number is", "599 x", 599, b"x"),
]


@pytest.mark.parametrize(
    ("status", "code", "reason"), [pytest.param(*case, id=name) for name, *case in GOOD_STATUSES]
)
def test_status(status: str, code: int, reason: bytes) -> None:
    for _ in range(2):  # the second is the one remembered
        reply = reply_of(started(status=status))
        assert (reply.status, reply.reason) == (code, reason)


def test_reason_goes_with_its_own_status() -> None:
    """One that replaces the status, by `exc_info`, brings its own or none."""
    response = started(status="299 Foo")
    response.start("500", [], exc_info())
    reply = reply_of(response)
    assert (reply.status, reply.reason) == (500, b"")


def test_status_of_a_kind_of_str() -> None:
    class Status(str):
        __slots__ = ()

    reply = reply_of(started(status=Status("201 Created")))
    assert (reply.status, reply.reason) == (201, b"Created")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param("", id="empty"),
        pytest.param("OK", id="no number"),
        pytest.param("20", id="two digits"),
        pytest.param("2000 OK", id="four digits"),
        pytest.param("200OK", id="no space"),
        pytest.param("200\tOK", id="tab"),
        pytest.param(" 200 OK", id="space before it"),
        pytest.param("100 Continue", id="interim: for the host to send"),
        pytest.param("101 Switching Protocols", id="switching: not in WSGI"),
        pytest.param("600 x", id="over 599"),
        pytest.param("\u0662\u0660\u0660 OK", id="digits of another script"),
        pytest.param("200 OK\n", id="newline at the end"),
        pytest.param("200 OK\r\nX-Evil: 1", id="status with CRLF"),
        pytest.param("200 O\0K", id="NUL"),
        pytest.param("200 O\x7fK", id="DEL"),
        pytest.param(b"200 OK", id="bytes"),
        pytest.param(200, id="int"),
        pytest.param(None, id="None"),
    ],
)
def test_status_refused(status: Any) -> None:
    response = Response("GET")
    with pytest.raises(ApplicationError, match="the app's status"):
        response.start(status, [])
    assert response.state is State.IDLE


# RFC 9110, 5.1 and 5.5, and the ASGI spec: names in lower case, values without white space around them.
GOOD_HEADERS: list[tuple[str, Any, list[tuple[bytes, bytes]]]] = [
    ("usual", [("Content-Type", "text/plain")], [(b"content-type", b"text/plain")]),
    ("none", [], []),
    ("latin-1 response header", [("X-Name", "caf\xe9 \xff")], [(b"x-name", b"caf\xe9 \xff")]),
    ("two of one name, in their order", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
     [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]),
    ("every character of a name", [("!#$%&'*+-.^_`|~09AZaz", "")], [(b"!#$%&'*+-.^_`|~09azaz", b"")]),
    ("empty value", [("X-Empty", "")], [(b"x-empty", b"")]),
    ("tab in the value", [("X-Tab", "a\tb")], [(b"x-tab", b"a\tb")]),
    ("white space around the value", [("X-Space", " \ta b\t ")], [(b"x-space", b"a b")]),
    ("pairs that are lists", [["X-List", "1"]], [(b"x-list", b"1")]),
    ("a tuple of pairs", (("X-Tuple", "1"),), [(b"x-tuple", b"1")]),
    ("any iterable of pairs", {"X-View": "1"}.items(), [(b"x-view", b"1")]),
    ("Content-Length", [("Content-Length", "0")], [(b"content-length", b"0")]),
    ("Content-Length with white space", [("Content-Length", " 0 ")], [(b"content-length", b"0")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "expected"), [pytest.param(*case, id=name) for name, *case in GOOD_HEADERS]
)
def test_headers(headers: Any, expected: list[tuple[bytes, bytes]]) -> None:
    response = started(headers)
    assert reply_of(response).headers == expected
    assert response.warnings is None


def test_header_name_of_a_kind_of_str() -> None:
    class Name(str):
        __slots__ = ()

    assert reply_of(started([(Name("X-A"), "1")])).headers == [(b"x-a", b"1")]


# Each names the header that is wrong; none shows its value, which may be a secret.
BAD_HEADERS: list[tuple[str, Any, str]] = [
    ("response header with CRLF", ("X-Evil", "secret\r\nX-Admin: 1"), "'X-Evil' has a control character"),
    ("LF", ("X-Evil", "secret\nX-Admin: 1"), "'X-Evil' has a control character"),
    ("CR", ("X-Evil", "secret\r"), "'X-Evil' has a control character"),
    ("NUL", ("X-Evil", "secret\0"), "'X-Evil' has a control character"),
    ("DEL", ("X-Evil", "secret\x7f"), "'X-Evil' has a control character"),
    ("white space that hides a newline", ("X-Evil", "\nsecret"), "'X-Evil' has a control character"),
    ("value outside latin-1", ("X-Name", "secret \u2713"), "'X-Name' has .* characters outside latin-1"),
    ("value of bytes", ("X-Bytes", b"secret"), "'X-Bytes' has a value of type bytes"),
    ("value of int", ("X-Int", 5), "'X-Int' has a value of type int"),
    ("value of None", ("X-None", None), "'X-None' has a value of type NoneType"),
    ("name with a space", ("X Y", "secret"), "name 'X Y' is not"),
    ("name with a colon", ("X:", "secret"), "name 'X:' is not"),
    ("name with CRLF", ("X\r\nY", "secret"), r"name 'X\\r\\nY' is not"),
    ("name that is empty", ("", "secret"), "name '' is not"),
    ("name outside ASCII", ("X-\xe9", "secret"), "name 'X-\xe9' is not"),
    ("name of bytes", (b"X-Name", "secret"), "name b'X-Name' is not"),
    ("name of None", (None, "secret"), "name None is not"),
    ("name that goes on and on", ("\xe9" * 1000, "secret"), "name '\xe9{63} is not"),
    ("three parts", ("X-Name", "secret", "secret"), "hold a tuple that is not a pair"),
    ("a str", "X-Name: secret", "hold a str that is not a pair"),
    ("None", None, "hold a NoneType that is not a pair"),
    ("Content-Length that is no number", ("Content-Length", "many"), "Content-Length is 'many'"),
    ("Content-Length that is empty", ("Content-Length", ""), "Content-Length is ''"),
    ("Content-Length below zero", ("Content-Length", "-1"), "Content-Length is '-1'"),
    ("Content-Length with a sign", ("Content-Length", "+1"), r"Content-Length is '\+1'"),
    ("Content-Length of several", ("Content-Length", "1, 1"), "Content-Length is '1, 1'"),
    ("Content-Length in another script", ("Content-Length", "\xb2"), "Content-Length is '\xb2'"),
    ("Content-Length of 20 digits", ("Content-Length", "1" * 20), "Content-Length is '1{20}'"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "message"), [pytest.param(*case, id=name) for name, *case in BAD_HEADERS])
def test_header_refused(header: Any, message: str) -> None:
    response = Response("GET")
    with pytest.raises(ApplicationError, match=message) as raised:
        response.start("200 OK", [("X-Good", "1"), header])
    assert "secret" not in str(raised.value)
    assert response.state is State.IDLE


def test_content_length_twice_is_refused() -> None:
    """Even equal ones: RFC 9110, 8.6, allows them to the recipient only."""
    with pytest.raises(ApplicationError, match="Content-Length twice"):
        started([("Content-Length", "1"), ("content-length", "1")])


def test_refused_start_leaves_the_one_before() -> None:
    """An error handler that fails itself has replaced nothing."""
    response = started([("X-First", "1")])
    with pytest.raises(ApplicationError):
        response.start("500", [("X-Second", "\n")], exc_info())
    assert reply_of(response).headers == [(b"x-first", b"1")]


HOP_BY_HOP = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailers",
    "Transfer-Encoding",
    "Upgrade",
]


@pytest.mark.parametrize("name", [name for name in HOP_BY_HOP if name.lower() != "keep-alive"])
def test_hop_by_hop_header_is_removed_with_a_warning(name: str) -> None:
    """PEP 3333, "Other HTTP Features"; once for a name, however often it is there."""
    assert is_hop_by_hop(name)
    response = started([("X-A", "1"), (name, "x"), (name, "y")])
    assert reply_of(response).headers == [(b"x-a", b"1")]
    assert response.warnings is not None
    [warning] = response.warnings
    assert repr(name.lower()) in warning


@pytest.mark.parametrize(
    ("header", "is_superfluous"),
    [
        (("Connection", "keep-alive"), True),
        (("connection", "Keep-Alive"), True),
        (("Keep-Alive", "timeout=5"), True),
        (("Connection", "close"), False),
        (("Connection", "keep-alive, upgrade"), False),
        (("Transfer-Encoding", "chunked"), False),
    ],
)
def test_what_the_server_does_anyway_is_no_warning(header: tuple[str, str], is_superfluous: bool) -> None:
    response = started([header])
    assert reply_of(response).headers == []
    assert response.superfluous == ([header[0].lower()] if is_superfluous else None)
    assert (response.warnings is None) is is_superfluous


# RFC 9110, 9.3.2, 15.3.5 and 15.4.5. Content-Length: 8.6 forbids it with 204; of a HEAD, it is the GET's.
BODILESS = [
    # id, method, status, whether Content-Length stays
    ("HEAD", "HEAD", "200 OK", True),
    ("204", "GET", "204 No Content", False),
    ("204 without a reason", "GET", "204", False),
    ("304", "GET", "304 Not Modified", False),
    ("HEAD and 304", "HEAD", "304 Not Modified", False),
    ("204 to a POST", "POST", "204 No Content", False),
]


@pytest.mark.parametrize(
    ("method", "status", "keeps"), [pytest.param(*case, id=name) for name, *case in BODILESS]
)
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([], id="no chunk"),
        pytest.param([b""], id="empty chunk"),
        pytest.param([b"abcde"], id="the body"),
        pytest.param([b"ab", b"cde"], id="in two chunks"),
        pytest.param([b"abcdefgh"], id="more than the body"),
    ],
)
def test_no_body(method: str, status: str, keeps: bool, chunks: list[bytes]) -> None:
    response = started([("Content-Length", "5"), ("X-A", "1")], method=method, status=status)
    reply = reply_of(response, chunks)
    assert reply.is_complete
    assert reply.body == b""
    assert reply.header(b"content-length") == (b"5" if keeps else None)
    assert reply.header(b"x-a") == b"1"
    assert response.is_bodiless
    assert response.warnings is None


# PEP 3333, "Handling the Content-Length Header": a body known whole gets the header.
DECLARED: list[tuple[str, str, str, Headers, Any, bytes | None]] = [
    # id, method, status, headers, chunks, Content-Length then
    ("a list", "GET", "200", [], [b"a", b"bc"], b"3"),
    ("a tuple", "GET", "200", [], (b"a", b"bc"), b"3"),
    ("an empty list", "GET", "200", [], [], b"0"),
    ("a list of nothing", "GET", "200", [], [b""], b"0"),
    ("declared by the app", "GET", "200", [("Content-Length", "2")], [b"a", b"bc"], b"2"),
    ("204", "GET", "204", [], [], None),
    ("204 with a body", "GET", "204", [], [b"a"], None),
    ("304", "GET", "304", [], [], None),
    ("205", "GET", "205", [], [], b"0"),
    ("HEAD with the body", "HEAD", "200", [], [b"abc"], b"3"),
    ("HEAD without the body: its size says nothing", "HEAD", "200", [], [], None),
    ("a list of numbers", "GET", "200", [], [1], None),
]


@pytest.mark.parametrize(
    ("method", "status", "headers", "chunks", "length"),
    [pytest.param(*case, id=name) for name, *case in DECLARED],
)
def test_list_gets_a_content_length(
    method: str, status: str, headers: Headers, chunks: Any, length: bytes | None
) -> None:
    response = started(headers, method=method, status=status)
    response.declare(chunks)
    reply = reply_of(response, [chunk for chunk in chunks if isinstance(chunk, bytes)])
    assert reply.header(b"content-length") == length


def test_declared_length_is_replaced_with_the_headers() -> None:
    """Whatever was known of the old body is nothing to the new one."""
    response = started([("Content-Length", "1")])
    response.start("500", [], exc_info())
    reply = reply_of(response, [b"abc"])
    assert (reply.status, reply.body, reply.header(b"content-length")) == (500, b"abc", None)


@given(split_bodies(), st.one_of(st.none(), st.integers(-5, 5)))
@settings(deadline=None)
def test_any_body_in_any_chunks(chunks: list[bytes], off_by: int | None) -> None:
    """With no Content-Length, the right one, and one that is off by some bytes."""
    body = b"".join(chunks)
    length = len(body) if off_by is None else max(len(body) + off_by, 0)
    response = started([] if off_by is None else [("Content-Length", str(length))])
    parts = parts_of(response, chunks)
    if length > len(body):
        with pytest.raises(ApplicationError, match=f"{length - len(body)} bytes shorter"):
            response.end()
        if parts:
            reply = Reply.of(parts)
            assert (reply.body, reply.is_complete) == (body, False)
        return
    end = response.end()
    reply = Reply.of(parts if end is None else [*parts, end])
    assert (reply.body, reply.is_complete) == (body[:length], True)
    # Whether there was too much to say is known to the app that said it.
    assert (response.warnings is not None) is (length < len(body))
    # Only the end may be empty: an empty part in the midst would say nothing.
    assert all(reply.chunks[:-1])


def test_surplus_is_noted_once() -> None:
    response = started([("Content-Length", "1")])
    for chunk in (b"ab", b"c", b"d"):
        response.chunk(chunk)
    assert response.warnings is not None
    [warning] = response.warnings
    assert "it has more bytes" in warning


def test_exception_raised_again_keeps_its_traceback() -> None:
    """PEP 3333 has `start_response` raise what it was given, `with_traceback`."""
    error = exc_info()
    assert error[1] is not None
    error[1].__traceback__ = None  # it is the third of the three that counts
    with pytest.raises(Failure) as raised:
        STATES["BODY"]().start("500", [], error)
    assert raised.value is error[1]
    assert "exc_info" in [entry.name for entry in raised.traceback]


def test_exception_raised_again_does_not_hold_itself() -> None:
    """PEP 3333: "avoid creating circular references through any traceback objects"."""

    def provoke() -> "weakref.ref[Failure]":
        try:
            raise Failure
        except Failure as error:
            reference = weakref.ref(error)
            with suppress(Failure):
                STATES["BODY"]().start("500", [], sys.exc_info())
        return reference

    with without_collector():
        assert provoke()() is None


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(lambda n: started(status=f"200 {n}"), id="reasons"),
        pytest.param(lambda n: started([(f"X-{n}", "")]), id="names"),
    ],
)
def test_what_apps_make_up_takes_no_memory(start: Callable[[str], Response]) -> None:
    """What has passed the checks is remembered, within bounds: a name may hold a session or a number."""
    for number in range(1_500):
        start(f"first-{number}")
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(4_000):
            start(f"second-{number}")
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("headers", [[], [(b"retry-after", b"1")]], ids=["plain", "with a header"])
def test_plain_answer(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole response; to a HEAD, that of the GET without its body (RFC 9110, 9.3.2)."""
    reply = Reply.of([plain_answer(503, b"Service Unavailable", method, *headers)])
    assert (reply.status, reply.reason, reply.is_complete) == (503, b"", True)
    assert reply.body == (b"" if method == "HEAD" else b"Service Unavailable")
    assert reply.headers == [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"19"),
        *headers,
    ]
