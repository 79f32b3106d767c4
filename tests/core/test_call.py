"""One WSGI call over a link made of lists: what an app may do, and what comes of it at the client's end."""

import io
import logging
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, NoReturn, TypeAlias, cast
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, request
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.call import Call, request_name
from bridge.errors import ApplicationError
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.core.links import Body, Failure, ListLink, Reply, split_bodies, without_collector, wsgi_environ

TEXT = [("Content-Type", "text/plain")]


def answering(
    body: Any, status: str = "200 OK", headers: list[tuple[str, str]] | None = None
) -> WSGIApplication:
    """An app that starts a response and returns `body`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, TEXT if headers is None else headers)
        found: Iterable[bytes] = body
        return found

    return app


def yielding(
    *chunks: bytes | BaseException,
    headers: list[tuple[str, str]] | None = None,
    close: BaseException | None = None,
) -> WSGIApplication:
    """An app that starts a response and returns a new Body for every call."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return answering(Body(*chunks, close=close), headers=headers)(environ, start_response)

    return app


def exchange(
    app: WSGIApplication, environ: WSGIEnvironment | None = None, link: ListLink | None = None
) -> Reply:
    """Make one call of the app that is not to be cut short, and read the reply."""
    link = link or ListLink()
    Call(app, environ or wsgi_environ()).run(link)
    return Reply.of(link.parts)


def errors(log: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, from warnings upwards."""
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


# Sample apps. Each is all right by PEP 3333, and `wsgiref.validate` is asked whether that is so.


def of_a_list(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"Hello", b", ", b"world"]


def of_a_generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    yield b"Hello"
    yield b""
    yield b", world"


def of_write(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"Hello")
    write(b"")
    write(b", ")
    return [b"world"]


def of_write_alone(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"Hello, ")
    write(b"world")
    return []


def started_in_the_generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("201 Created", TEXT)
    yield b"made"


def replaced_before_headers(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise Failure
    except Failure:
        start_response("503 Service Unavailable", [*TEXT, ("X-Second", "2")], sys.exc_info())
    return [b"sorry"]


def replaced_in_the_generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    try:
        raise Failure
    except Failure:
        start_response("500 Oh", TEXT, sys.exc_info())
    yield b"sorry"


def of_a_file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    found: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"of a file"))
    return found


def with_a_length(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    yield b"Hel"
    yield b"lo"


def without_content(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def unchanged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"a"')])
    return []


def of_nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return []


def of_an_empty_generator(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from ()


def of_the_body(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [environ["wsgi.input"].read(-1)]


def of_the_lines(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    for line in environ["wsgi.input"]:
        yield line.upper()


def that_logs(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.errors"].flush()
    return of_a_list(environ, start_response)


HELLO = b"Hello, world"

SAMPLES: list[tuple[str, WSGIApplication, int, bytes, bytes | None]] = [
    # id, app, status, body, Content-Length
    ("list", of_a_list, 200, HELLO, b"12"),
    ("generator", of_a_generator, 200, HELLO, None),
    ("write()", of_write, 200, HELLO, None),
    ("write() and nothing else", of_write_alone, 200, HELLO, None),
    ("start_response inside the generator", started_in_the_generator, 201, b"made", None),
    ("exc_info before the headers went out replaces them", replaced_before_headers, 503, b"sorry", b"5"),
    ("exc_info after an empty chunk replaces them", replaced_in_the_generator, 500, b"sorry", None),
    ("file wrapper", of_a_file, 200, b"of a file", None),
    ("Content-Length of the app", with_a_length, 200, b"Hello", b"5"),
    ("204", without_content, 204, b"", None),
    ("304", unchanged, 304, b"", None),
    ("empty body still answers", of_nothing, 200, b"", b"0"),
    ("empty generator still answers", of_an_empty_generator, 200, b"", None),
    ("request body", of_the_body, 200, b"one\ntwo\n", b"8"),
    ("request body by lines", of_the_lines, 200, b"ONE\nTWO\n", None),
    ("wsgi.errors", that_logs, 200, HELLO, b"12"),
]


@pytest.mark.parametrize(
    ("app", "status", "body", "length"), [pytest.param(*case, id=name) for name, *case in SAMPLES]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("validated", [False, True], ids=["bare", "validated"])
def test_sample(
    app: WSGIApplication,
    status: int,
    body: bytes,
    length: bytes | None,
    method: str,
    validated: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Under `wsgiref.validate`, too, which finds nothing to object to: not in us, not in the app."""
    link = ListLink([b"one\n", b"tw", b"o\n"])
    reply = exchange(validator(app) if validated else app, wsgi_environ(method=method), link)
    assert (reply.status, reply.is_complete) == (status, True)
    assert reply.body == (b"" if method == "HEAD" else body)
    # The validator returns no list, so that nobody knows its length.
    if not validated and not (method == "HEAD" and length == b"0"):
        assert reply.header(b"content-length") == length
    assert errors(caplog) == []
    assert capsys.readouterr() == ("", "")  # where the validator reports what was not closed


def test_replaced_headers_are_gone() -> None:
    reply = exchange(replaced_before_headers)
    assert reply.header(b"x-first") is None
    assert reply.header(b"x-second") == b"2"


def test_chunks_go_out_as_they_come() -> None:
    """PEP 3333, "Buffering and Streaming": none waits for the next; the head goes with the first."""
    link = ListLink()
    seen = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        for chunk in (b"", b"a", b"", b"b"):
            seen.append(len(link.parts))
            yield chunk
        seen.append(len(link.parts))

    assert exchange(app, link=link).chunks == (b"a", b"b", b"")
    assert seen == [0, 0, 1, 1, 2]


def test_empty_chunk_asks_whether_the_client_is_there() -> None:
    """An app that waits for something yields b"" meanwhile; nothing is sent by it, head or not."""
    link = ListLink()
    assert exchange(yielding(b"", b"a", b"", b"", b"b"), link=link).chunks == (b"a", b"b", b"")
    assert link.probes == 3


def test_empty_chunk_after_the_last_byte_asks_as_well() -> None:
    """An app that waits with its response complete would hold its thread after its host has given it up."""
    body = Body(b"a", b"", b"")
    app = answering(body, headers=[("Content-Length", "1")])
    assert exchange(app, link=ListLink(leaves_after=1)).body == b"a"
    assert (body.yielded, body.closed) == (2, 1)


def test_empty_chunk_by_write_sends_nothing() -> None:
    link = ListLink()
    exchange(of_write, link=link)
    assert link.probes == 0


def test_write_goes_out_before_it_returns() -> None:
    """PEP 3333, "The write() Callable"."""
    link = ListLink()
    seen = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"a")
        seen.append(Reply.of(link.parts).body)
        write(b"b")
        seen.append(Reply.of(link.parts).body)
        return [b"c"]

    assert exchange(app, link=link).body == b"abc"
    assert seen == [b"a", b"ab"]


def test_write_of_an_empty_chunk_leaves_the_headers_replaceable() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"")
        try:
            raise Failure
        except Failure:
            start_response("500 Oh", TEXT, sys.exc_info())(b"sorry")
        return []

    reply = exchange(app)
    assert (reply.status, reply.body) == (500, b"sorry")


@pytest.mark.parametrize("headers", [TEXT, [*TEXT, ("Content-Length", "5")]], ids=["unsaid", "declared"])
def test_list_of_one_chunk_is_one_part(headers: list[tuple[str, str]]) -> None:
    """A response known whole goes out at once: head, body and end."""
    assert exchange(answering([b"whole"], headers=headers)).chunks == (b"whole",)


def test_app_gets_its_environ() -> None:
    """The dict that the call was given, and in it a body that is read off the link."""
    given = wsgi_environ(method="PUT")
    seen: list[tuple[WSGIEnvironment, bytes]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append((environ, environ["wsgi.input"].read()))
        return without_content(environ, start_response)

    exchange(app, given, ListLink([b"se", b"nt"]))
    [(environ, body)] = seen
    assert environ is given
    assert body == b"sent"


def test_body_that_nobody_reads_stays_with_the_host() -> None:
    link = ListLink([b"sent"])
    exchange(of_a_list, wsgi_environ(method="POST"), link)
    assert link.reads == 0


# Failures before the first byte: a clean 500, and a log line that says what was wrong.


def app_raising(error: BaseException) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        raise error

    return app


def app_raising_after_start(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    start_response("200 OK", [*TEXT, ("X-Secret", "1")])
    raise Failure("after start_response")


def starting_twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return []


def not_starting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return [b"body"]


async def async_app(environ: WSGIEnvironment, start_response: StartResponse) -> None:
    """As one that is hidden in a plain wrapper."""


def neither_starting_nor_yielding(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return []


class NoIterator:
    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("not today")


def headers_of(value: object) -> WSGIApplication:
    return answering([], headers=[("X-Test", value)])  # type: ignore[list-item]  # wrong ones, too


FAILING: list[tuple[str, WSGIApplication, str]] = [
    # id, app, what the log says of it
    ("app raises", app_raising(Failure()), "the app raised Failure before its headers were out"),
    ("app raises after start_response", app_raising_after_start, "the app raised Failure before"),
    ("StopIteration raised by the app", app_raising(StopIteration()), "the app raised StopIteration"),
    ("SystemExit raised by the app", app_raising(SystemExit(3)), "the app raised SystemExit"),
    ("KeyboardInterrupt raised by the app", app_raising(KeyboardInterrupt()), "raised KeyboardInterrupt"),
    ("GeneratorExit raised by the app", app_raising(GeneratorExit()), "the app raised GeneratorExit"),
    ("iterable raises at once", yielding(Failure()), "the app raised Failure before"),
    ("iterable raises after an empty chunk", yielding(b"", Failure()), "the app raised Failure before"),
    ("iterable raises SystemExit", yielding(SystemExit()), "the app raised SystemExit before"),
    ("iterable has no iterator today", answering(NoIterator()), "the app raised TypeError before"),
    # PEP 3333, "The start_response() Callable"
    ("second start_response without exc_info", starting_twice, "a second time without exc_info"),
    ("missing start_response", not_starting, "a part of the body before it called start_response"),
    ("missing start_response, empty", neither_starting_nor_yielding, "without calling start_response"),
    ("ill-formed status", answering([], "OK"), "the app's status is 'OK'"),
    ("a response header with CRLF", headers_of("a\r\nX-Evil: 1"), "'X-Test' has a control character"),
    ("a response header outside latin-1", headers_of("\u2713"), "'X-Test' has a value with characters"),
    ("a response header of int", headers_of(1), "'X-Test' has a value of type int"),
    # PEP 3333, "The Application/Framework Side" and "A Note on String Types"
    ("app returns None", answering(None), "of type NoneType, which is not an iterable of bytes"),
    ("app is async", cast(WSGIApplication, async_app), "an ASGI app is served with --interface asgi"),
    ("app returns a number", answering(7), "a value of type int, which is not an iterable"),
    ("app returns a str", answering("text"), "has a chunk of type str; it must be bytes"),
    ("app returns bytes", answering(b"bytes"), "has a chunk of type int; it must be bytes"),
    ("app yields a str", yielding("text"), "has a chunk of type str"),  # type: ignore[arg-type]  # so
    ("app yields a bytearray", answering([bytearray(b"a")]), "has a chunk of type bytearray"),
]  # fmt: skip


@pytest.mark.parametrize(("app", "message"), [pytest.param(*case, id=name) for name, *case in FAILING])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_failure_before_the_headers_is_a_500(
    app: WSGIApplication, message: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = exchange(app, wsgi_environ(method=method))
    assert (reply.status, reply.is_complete) == (500, True)
    assert reply.body == (b"" if method == "HEAD" else b"Internal Server Error")
    assert reply.header(b"x-secret") is None
    [error] = errors(caplog)
    assert message in error
    assert error.startswith(f"{method} /: ")
    assert "answering 500" in error


@pytest.mark.parametrize(("method", "status"), [("GET", 500), ("HEAD", 200)])
def test_no_bytes_where_content_length_has_some(method: str, status: int) -> None:
    """No byte is out, so that it can still be a 500; to a HEAD, no body is too short."""
    reply = exchange(answering([], headers=[*TEXT, ("Content-Length", "5")]), wsgi_environ(method=method))
    assert (reply.status, reply.body == b"") == (status, method == "HEAD")


# Failures once bytes are out: the host is told to cut the connection.


def writing_then_raising(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    start_response("200 OK", TEXT)(b"begun")
    raise Failure


def handling_the_error(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    try:
        yield b"begun"
        raise Failure
    except Failure:
        start_response("500 Oh", TEXT, sys.exc_info())
        yield b"not reached: start_response raises again"


CUT: list[tuple[str, WSGIApplication, str]] = [
    # id, app, what the log says of it
    ("iterable raises", yielding(b"begun", Failure()), "the app raised Failure with its headers out"),
    ("iterable raises SystemExit", yielding(b"begun", SystemExit()), "the app raised SystemExit with"),
    ("app raises after write()", writing_then_raising, "the app raised Failure with its headers out"),
    ("exc_info after the headers raises again", handling_the_error, "the app raised Failure with its"),
    ("a str among the chunks", yielding(b"begun", "x"), "a chunk of type str"),  # type: ignore[arg-type]  # so
    (
        "fewer bytes than Content-Length",
        yielding(b"begun", headers=[*TEXT, ("Content-Length", "9")]),
        "4 bytes shorter than its Content-Length",
    ),
    (
        "fewer bytes than Content-Length, of a list",
        answering([b"begun"], headers=[*TEXT, ("Content-Length", "9")]),
        "4 bytes shorter than its Content-Length",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("app", "message"), [pytest.param(*case, id=name) for name, *case in CUT])
def test_failure_after_the_headers_cuts_the_connection(
    app: WSGIApplication, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No client may take half a body for a whole one, so there is no last part."""
    link = ListLink()
    with pytest.raises(ApplicationError, match="GET /: response cut short"):
        Call(app, wsgi_environ()).run(link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.body, reply.is_complete) == (200, b"begun", False)
    [error] = errors(caplog)
    assert message in error
    assert "cutting the connection" in error


# Failures after the end: the client has its response, the log has the rest.


def writing_past_the_end(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    write(b"whole")
    write(b"more")
    return []


LATE: list[tuple[str, WSGIApplication, list[str]]] = [
    # id, app, what the log says of it
    ("close() raises", yielding(b"whole", close=Failure()), ["the app raised Failure after"]),
    (
        "iterable raises after its Content-Length",
        yielding(b"whole", Failure(), headers=[*TEXT, ("Content-Length", "5")]),
        ["the app raised Failure after its response was complete"],
    ),
    (
        "write() past Content-Length",
        writing_past_the_end,
        ["the app called write() with its response already complete", "cut the app's body"],
    ),
]


@pytest.mark.parametrize(("app", "messages"), [pytest.param(*case, id=name) for name, *case in LATE])
def test_failure_after_the_end_is_logged(
    app: WSGIApplication, messages: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    reply = exchange(app)
    assert (reply.status, reply.body, reply.is_complete) == (200, b"whole", True)
    logged = errors(caplog)
    assert len(logged) == len(messages)
    assert all(message in line for message, line in zip(messages, logged, strict=True))


def test_headers_of_a_request_do_not_forge_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """A path is the client's to choose; a query may hold secrets."""
    exchange(app_raising(Failure()), wsgi_environ(b"/%0D%0A%1B[31mERROR?token=secret"))
    [error] = errors(caplog)
    assert error.startswith(r"GET /\r\n\x1b[31mERROR: the app raised Failure")
    assert "secret" not in error


# What a log line calls a request: SCRIPT_NAME and PATH_INFO are bytes as latin-1 (PEP 3333), shown as UTF-8.
NAMES: list[tuple[str, WSGIEnvironment, str]] = [
    ("plain", wsgi_environ(b"/a/b"), "GET /a/b"),
    ("another method", wsgi_environ(b"/a", method="PATCH"), "PATCH /a"),
    ("without its query", wsgi_environ(b"/a?token=secret"), "GET /a"),
    ("under a mount", wsgi_environ(b"/app/a", root_path="/app"), "GET /app/a"),
    ("the mount itself", wsgi_environ(b"/app", root_path="/app"), "GET /app"),
    ("in UTF-8", wsgi_environ("/caf\xe9".encode()), r"GET /caf\xe9"),
    ("not in UTF-8", wsgi_environ(b"/%ff"), r"GET /\udcff"),
    ("with a line end", wsgi_environ(b"/%0D%0A"), r"GET /\r\n"),
    ("with a quotation mark", wsgi_environ(b"/'"), "GET /'"),
    ("asterisk form", wsgi_environ(b"*", method="OPTIONS"), "OPTIONS *"),
    ("outside latin-1, against PEP 3333", wsgi_environ(PATH_INFO="/\u2713"), "GET /?"),
]


@pytest.mark.parametrize(("environ", "name"), [pytest.param(*case, id=id_) for id_, *case in NAMES])
def test_name(environ: WSGIEnvironment, name: str) -> None:
    assert Call(of_a_list, environ).name == name


@pytest.mark.parametrize(
    ("path", "name"), [("/a", "GET /a"), ("/caf\xe9", r"GET /caf\xe9"), ("/\r\n", r"GET /\r\n"), ("", "GET ")]
)
def test_request_name(path: str, name: str) -> None:
    """The same for whoever has the path decoded."""
    assert request_name("GET", path) == name


def test_name_is_of_what_the_client_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """PEP 3333: "the application is allowed to modify the dictionary in any way it desires"."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        environ.clear()
        raise Failure

    environ = wsgi_environ(b"/app/a", method="POST", root_path="/app")
    assert exchange(app, environ).status == 500
    [error] = errors(caplog)
    assert error.startswith("POST /app/a: the app raised Failure")


def test_log_has_the_traceback_of_an_app_s_own_error(caplog: pytest.LogCaptureFixture) -> None:
    """Not of an ApplicationError, whose message says it all."""
    failure = Failure()
    exchange(app_raising(failure))
    exchange(starting_twice)
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [failure, None]


# close()


CLOSING: list[tuple[str, list[bytes | BaseException], BaseException | None, dict[str, Any]]] = [
    # id, what the iterable yields, what its close() raises, what the link does
    ("all is well", [b"a", b"b"], None, {}),
    ("empty body", [], None, {}),
    ("the iterable raises", [Failure()], None, {}),
    ("the iterable raises after the headers", [b"a", Failure()], None, {}),
    ("the iterable raises SystemExit", [b"a", SystemExit()], None, {}),
    ("disconnect at once", [b"a", b"b"], None, {"leaves_after": 0}),
    ("disconnect", [b"a", b"b"], None, {"leaves_after": 1}),
    ("disconnect at the end", [b"a", b"b"], None, {"leaves_after": 2}),
    ("send raises", [b"a", b"b"], None, {"leaves_after": 1, "failure": RuntimeError()}),
    ("close() itself raises", [b"a"], Failure(), {}),
    ("both raise", [Failure()], Failure(), {}),
]


@pytest.mark.parametrize(
    ("chunks", "error", "ways"), [pytest.param(*case, id=name) for name, *case in CLOSING]
)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="plain"),
        pytest.param([("Content-Length", "0")], id="more bytes than Content-Length"),
        pytest.param([("Content-Length", "9")], id="fewer bytes than Content-Length"),
        pytest.param([("X Y", "")], id="headers refused"),
    ],
)
def test_close_is_called_once(
    chunks: list[bytes | BaseException],
    error: BaseException | None,
    ways: dict[str, Any],
    headers: list[tuple[str, str]],
) -> None:
    """PEP 3333, "Specification Details": "upon completion of the current request", however that came."""
    body = Body(*chunks, close=error)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with suppress(ApplicationError):  # an app need not give up because its headers were refused
            start_response("200 OK", headers)
        return body

    with suppress(ApplicationError, RuntimeError):
        Call(app, wsgi_environ()).run(ListLink(**ways))
    assert body.closed == 1


def test_close_comes_after_the_last_byte() -> None:
    link = ListLink()

    class Seeing(Body):
        def close(self) -> None:
            seen.append(Reply.of(link.parts).is_complete)

    seen: list[bool] = []
    exchange(answering(Seeing(b"a")), link=link)
    assert seen == [True]


def test_close_of_a_generator_runs_its_finally() -> None:
    events = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            while True:
                yield b"tick"
        finally:
            events.append("closed")

    Call(app, wsgi_environ()).run(ListLink(leaves_after=2))
    assert events == ["closed"]


def test_iterable_without_close() -> None:
    """PEP 3333 asks for `close` only "if it has one"."""

    class Bare:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

    assert exchange(answering(Bare())).body == b"ab"


def test_iterable_of_the_old_protocol() -> None:
    """`iter()` also takes what has `__getitem__` only."""

    class Indexed:
        def __getitem__(self, index: int) -> bytes:
            return [b"a", b"b"][index]

    assert exchange(answering(Indexed())).body == b"ab"


# Disconnects


@pytest.mark.parametrize("sends", range(4))
def test_endless_generator_ends_after_the_disconnect(sends: int, caplog: pytest.LogCaptureFixture) -> None:
    """With the next chunk, and without a word in the log: clients leave all the time."""
    body = Body(*[b"tick"] * 1000)
    link = ListLink(leaves_after=sends)
    with caplog.at_level(logging.DEBUG, "bridge"):
        Call(answering(body), wsgi_environ()).run(link)
    assert body.yielded == sends + 1
    assert len(link.parts) == sends
    assert errors(caplog) == []
    assert [record.getMessage() for record in caplog.records] == ["GET /: the client left (the client left)"]


def reading(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [environ["wsgi.input"].read()]


def reading_with_an_error_of_its_own(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        raise Failure("cannot read") from error
    raise AssertionError("the body has no end")


def reading_and_failing_later(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        reason = error
    raise Failure("nothing was read") from reason


def reading_with_another_error_on_top(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    try:
        environ["wsgi.input"].read()
    finally:
        raise Failure("while cleaning up")


def writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    while True:
        write(b"tick")


def of_an_endless_nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    while True:
        yield b""


DISCONNECTED: list[tuple[str, WSGIApplication]] = [
    ("while the app reads", reading),
    ("while the app reads, which it reports as an error of its own", reading_with_an_error_of_its_own),
    ("while the app reads, which it reports later", reading_and_failing_later),
    ("while the app writes", writing),
    ("while the app answers", of_a_list),
    ("while the app yields nothing", of_an_endless_nothing),
    ("at the end", of_an_empty_generator),
]


@pytest.mark.parametrize("app", [pytest.param(app, id=name) for name, app in DISCONNECTED])
def test_disconnect_is_no_error(app: WSGIApplication, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent, nothing is raised, and the log is quiet."""
    link = ListLink([b"half"], leaves_early=True, leaves_after=0)
    Call(app, wsgi_environ(method="POST")).run(link)
    assert link.parts == []
    assert errors(caplog) == []


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(reading_with_another_error_on_top, id="in a finally"),
        pytest.param(yielding(b"a", close=Failure()), id="in close()"),
    ],
)
def test_an_error_while_cleaning_up_after_a_disconnect_is_one_of_the_app(
    app: WSGIApplication, caplog: pytest.LogCaptureFixture
) -> None:
    link = ListLink([b"half"], leaves_early=True, leaves_after=0)
    with suppress(ApplicationError):  # for the link to pass on, if there is anybody left to tell
        Call(app, wsgi_environ(method="POST")).run(link)
    assert link.parts == []
    assert len(errors(caplog)) == 1


def test_app_may_answer_although_the_body_broke_off() -> None:
    """It can catch the disconnect, as an OSError, and go on; whether anybody hears it is for the link."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError:
            start_response("400 Bad Request", TEXT)
        return [b"incomplete"]

    assert exchange(app, link=ListLink(leaves_early=True)).status == 400


def test_client_that_left_before_its_500(caplog: pytest.LogCaptureFixture) -> None:
    """The app's failure is logged, nobody is left to be told."""
    link = ListLink(leaves_after=0)
    with caplog.at_level(logging.DEBUG, "bridge"):
        Call(app_raising(Failure()), wsgi_environ()).run(link)
    assert link.parts == []
    assert len(errors(caplog)) == 1
    assert caplog.records[-1].getMessage() == "GET /: the client left before its 500"


def test_failure_long_after_a_disconnect_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """Errors that cause each other in a circle, or without an end, are followed only so far."""
    first, second = Failure("first"), Failure("second")
    first.__cause__, second.__cause__ = second, first
    assert exchange(app_raising(first)).status == 500
    assert len(errors(caplog)) == 1


# Content-Length and hop-by-hop headers


def test_more_bytes_than_content_length_are_cut_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """PEP 3333, "Handling the Content-Length Header": "should stop iterating ... or raise an error"."""
    body = Body(*[b"abc"] * 1000)
    reply = exchange(answering(body, headers=[*TEXT, ("Content-Length", "5")]))
    assert (reply.body, reply.is_complete) == (b"abcab", True)
    assert body.yielded <= 3
    [warning] = errors(caplog)
    assert "GET /: cut the app's body at its Content-Length" in warning


def test_hop_by_hop_headers_are_removed_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """PEP 3333, "Other HTTP Features"."""
    headers = [*TEXT, ("Connection", "close"), ("Transfer-Encoding", "chunked")]
    reply = exchange(answering([b"a"], headers=headers))
    assert [name for name, _ in reply.headers] == [b"content-type", b"content-length"]
    assert [line.partition(":")[0] for line in errors(caplog)] == ["GET /", "GET /"]


def test_warnings_are_logged_even_if_the_app_fails_then(caplog: pytest.LogCaptureFixture) -> None:
    headers = [*TEXT, ("Connection", "close")]
    with pytest.raises(ApplicationError):
        Call(yielding(b"a", Failure(), headers=headers), wsgi_environ()).run(ListLink())
    assert any("hop-by-hop" in line for line in errors(caplog))


def test_latin_1_response_header() -> None:
    assert exchange(headers_of("caf\xe9")).header(b"x-test") == b"caf\xe9"


@pytest.mark.parametrize(("status", "reason"), [("299", b""), ("299 Foo", b"Foo"), ("200 \u2713", b"?")])
def test_reason_phrase_is_the_app_s(status: str, reason: bytes) -> None:
    reply = exchange(answering([], status))
    assert (reply.status, reply.reason) == (int(status[:3]), reason)


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
def test_write_without_a_body_to_go_with(status: str, caplog: pytest.LogCaptureFixture) -> None:
    """An app need not know that it answers a HEAD: what it writes is left out, and it goes on."""
    finished = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response(status, [])
        for _ in range(3):
            write(b"chunk")
        finished.append(True)
        return [b"more"]

    reply = exchange(app, wsgi_environ(method="HEAD"))
    assert (reply.body, reply.is_complete) == (b"", True)
    assert finished
    assert errors(caplog) == []


# Any body in any shape

Shape: TypeAlias = Literal["list", "tuple", "generator", "write", "write and list", "write and generator"]
SHAPES: tuple[Shape, ...] = ("list", "tuple", "generator", "write", "write and list", "write and generator")


def app_of(shape: Shape, chunks: list[bytes], headers: list[tuple[str, str]]) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", headers)
        written = {"write": len(chunks), "write and list": 2, "write and generator": 2}.get(shape, 0)
        for chunk in chunks[:written]:
            write(chunk)
        rest = chunks[written:]
        if shape == "tuple":
            return tuple(rest)
        return (chunk for chunk in rest) if "generator" in shape else rest

    return app


@given(
    split_bodies(),
    st.sampled_from(SHAPES),
    st.one_of(st.none(), st.integers(-5, 5)),
    st.sampled_from(["GET", "HEAD"]),
)
@settings(max_examples=200, deadline=None)
def test_any_body_in_any_shape(chunks: list[bytes], shape: Shape, off_by: int | None, method: str) -> None:
    """With no Content-Length, the right one, and one that is off by some bytes: well-formed, and no lie."""
    body = b"".join(chunks)
    length = len(body) if off_by is None else max(len(body) + off_by, 0)
    headers = TEXT if off_by is None else [*TEXT, ("Content-Length", str(length))]
    link = ListLink()
    try:
        Call(app_of(shape, chunks, headers), wsgi_environ(method=method)).run(link)
    except ApplicationError:
        assert method == "GET"
        assert 0 < len(body) < length
        reply = Reply.of(link.parts)
        assert (reply.body, reply.is_complete) == (body, False)
        return
    reply = Reply.of(link.parts)
    assert reply.is_complete
    if method == "HEAD":
        assert (reply.status, reply.body) == (200, b"")
    elif length > len(body):
        assert body == b""
        assert reply.status == 500
    else:
        assert (reply.status, reply.body) == (200, body[:length])
        declared = reply.header(b"content-length")
        assert declared is None or int(declared) == len(reply.body)


@given(split_bodies(), st.sampled_from(SHAPES), st.integers(0, 10))
@settings(deadline=None)
def test_disconnect_at_any_send(chunks: list[bytes], shape: Shape, sends: int) -> None:
    """What went out before it is the beginning of the response; nothing is raised."""
    link = ListLink(leaves_after=sends)
    Call(app_of(shape, chunks, TEXT), wsgi_environ()).run(link)
    assert len(link.parts) <= sends
    if link.parts:
        assert b"".join(chunks).startswith(Reply.of(link.parts).body)


# Whether the exception given to start_response is let go of


def test_exception_raised_again_does_not_hold_itself() -> None:
    """PEP 3333: "avoid creating circular references through any traceback objects"."""
    references: list[weakref.ref[Failure]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"begun")
        try:
            raise Failure
        except Failure as error:
            references.append(weakref.ref(error))
            with suppress(Failure):
                start_response("500 Oh", TEXT, sys.exc_info())
        return []

    with without_collector():
        exchange(app)
        [reference] = references
        assert reference() is None


# Flask


flask_app = Flask(__name__)


@flask_app.get("/hello")
def hello() -> str:
    return "hello"


@flask_app.post("/size")
def size() -> str:
    return str(len(request.get_data()))


@flask_app.delete("/thing")
def delete() -> tuple[str, int]:
    return "", 204


@flask_app.get("/stream")
def stream() -> Response:
    return Response(iter(["a", "b"]), mimetype="text/plain")


@flask_app.get("/who")
def who() -> dict[str, Any]:
    return {"user": request.headers.get("X-User"), "cookies": request.cookies, "path": request.path}


FLASK: list[tuple[str, WSGIEnvironment, list[bytes], int, bytes]] = [
    # id, environ, chunks of the request's body, status, response's body
    ("a page", wsgi_environ(b"/hello"), [], 200, b"hello"),
    ("Flask's HEAD", wsgi_environ(b"/hello", method="HEAD"), [], 200, b""),
    ("Flask's 204", wsgi_environ(b"/thing", method="DELETE"), [], 204, b""),
    ("Flask's 404", wsgi_environ(b"/%ff"), [], 404, b""),
    ("a stream", wsgi_environ(b"/stream"), [], 200, b"ab"),
    ("under a mount", wsgi_environ(b"/app/hello", root_path="/app"), [], 200, b"hello"),
    (
        "chunked upload",
        wsgi_environ(b"/size", method="POST", headers=[(b"transfer-encoding", b"chunked")]),
        [b"a" * 1000, b"b" * 1000],
        200,
        b"2000",
    ),
    (
        "upload of HTTP/2, which says neither chunked nor a length",
        wsgi_environ(b"/size", method="POST", SERVER_PROTOCOL="HTTP/2"),
        [b"abc"],
        200,
        b"3",
    ),
    (
        "upload with a length",
        wsgi_environ(b"/size", method="POST", headers=[(b"content-length", b"3")]),
        [b"ab", b"c"],
        200,
        b"3",
    ),
    (
        "spoofed header, two cookies",
        wsgi_environ(
            b"/who",
            headers=[(b"x_user", b"evil"), (b"cookie", b"a=1"), (b"cookie", b"b=2")],
        ),
        [],
        200,
        b'{"cookies":{"a":"1","b":"2"},"path":"/who","user":null}\n',
    ),
]


@pytest.mark.parametrize(
    ("environ", "chunks", "status", "body"), [pytest.param(*case, id=name) for name, *case in FLASK]
)
def test_flask(
    environ: WSGIEnvironment, chunks: list[bytes], status: int, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reply = exchange(flask_app.wsgi_app, environ.copy(), ListLink(chunks))
    assert (reply.status, reply.is_complete) == (status, True)
    assert reply.body == body or status == 404
    assert errors(caplog) == []


def test_what_the_server_does_anyway_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Every tutorial about event streams sets it: a line for each request would say nothing more."""
    app = yielding(b"a", headers=[*TEXT, ("Connection", "keep-alive"), ("Keep-Alive", "timeout=5")])
    caplog.set_level(logging.DEBUG, "bridge")
    for _ in range(2):
        caplog.clear()
        assert exchange(app).body == b"a"
        assert errors(caplog) == []
    assert "keeps connections alive itself" not in caplog.text
