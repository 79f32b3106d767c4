"""Apps that break PEP 3333, each in its way, and apps that raise anything at any point.

Each is answered with a 500, or cut off where its headers are out; a line in the log says that it was the app;
and the next request is served by the same, and only, thread.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeAlias, cast

import pytest

from bridge.errors import ApplicationError
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.conformance.apps import PLAIN, answering, beside_hello
from tests.conformance.exchange import Exchange, adapted

# How a response ends: whole, replaced by a 500, or cut off.
End: TypeAlias = Literal["whole", "500", "cut"]


class Broken:
    """A WSGI app in which everything can be wrong: what it calls `start_response` with and what it returns.

    Args:
        start: the arguments of `start_response`; None not to call it.
        body: returned, whatever it is.
        writes: given to `write()` first.
    """

    def __init__(
        self, start: tuple[Any, ...] | None = ("200 OK", PLAIN), body: Any = (b"body",), writes: Any = None
    ) -> None:
        self.start = start
        self.body = body
        self.writes = writes

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        write = start_response(*self.start) if self.start is not None else None
        if write is not None and self.writes is not None:
            write(self.writes)
        return self.body


@dataclass(frozen=True)
class Case:
    """A fault of an app: how its response ends, and a part of each line that the log gets."""

    fault: str
    app: WSGIApplication
    end: End
    log: str
    and_log: str | None = None


def header(name: Any, value: Any) -> Broken:
    return Broken(("200 OK", [*PLAIN, (name, value)]))


def length(declared: str, body: Iterable[bytes]) -> Broken:
    return Broken(("200 OK", [("Content-Length", declared)]), body)


class Endless:
    """An iterable that is not one: it has no `__next__`."""

    def __iter__(self) -> Any:
        return self


class UncallableClose(list[bytes]):
    close = "not callable"


def _start_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    yield b"body"
    start_response("200 OK", PLAIN)


def _start_again_in_the_middle(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield b"body"
    start_response("500 Internal Server Error", PLAIN)


def _replace_headers_too_late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield b"body"
    try:
        raise LookupError
    except LookupError as error:
        traceback = cast(TracebackType, error.__traceback__)
        start_response("500 Internal Server Error", PLAIN, (LookupError, error, traceback))
        yield b"an apology"


def _write_too_much(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"body")
    write(b"more")
    return []


def _take_one_argument(environ: WSGIEnvironment) -> Iterable[bytes]:
    return []


async def _be_async(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return []


def _call_start_response_with_words(
    environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    start_response(status="200 OK", response_headers=PLAIN)  # type: ignore[call-arg]  # its fault
    return []


CASES = [
    # the body
    Case("returns None", Broken(body=None), "500", "of type NoneType, which is not an iterable"),
    Case("returns a number", Broken(body=7), "500", "of type int, which is not an iterable"),
    Case("returns a str", Broken(body="body"), "500", "a chunk of type str; it must be bytes"),
    Case("returns bytes", Broken(body=b"body"), "500", "a chunk of type int; it must be bytes"),
    Case("returns a str in a list", Broken(body=["body"]), "500", "a chunk of type str"),
    Case("returns None in a list", Broken(body=[None]), "500", "a chunk of type NoneType"),
    Case("returns a bytearray", Broken(body=[bytearray(b"body")]), "500", "a chunk of type bytearray"),
    Case("returns a memoryview", Broken(body=[memoryview(b"body")]), "500", "a chunk of type memoryview"),
    Case("yields a str after bytes", Broken(body=iter([b"body", "body"])), "cut", "a chunk of type str"),
    Case("returns what does not iterate", Broken(body=Endless()), "500", "the app raised TypeError"),
    Case("has a close that is none", Broken(body=UncallableClose([b"body"])), "whole", "raised TypeError"),
    Case("writes a str", Broken(writes="body"), "500", "a chunk of type str"),
    # start_response
    Case("never starts", Broken(None, []), "500", "returned without calling start_response"),
    Case("never starts, yet has a body", Broken(None), "500", "before it called start_response"),
    Case("starts after its body", _start_late, "500", "before it called start_response"),
    Case("starts twice", _start_again_in_the_middle, "cut", "a second time without exc_info"),
    Case("has exc_info too late", _replace_headers_too_late, "cut", "the app raised LookupError"),
    Case("calls it by words", _call_start_response_with_words, "500", "the app raised TypeError"),
    Case("gives it nothing", Broken(()), "500", "the app raised TypeError"),
    Case(
        "takes one argument",
        _take_one_argument,  # type: ignore[arg-type]  # that is what is wrong with it
        "500",
        "the app raised TypeError",
    ),
    # the status
    Case("status is a number", Broken((200, PLAIN)), "500", "the app's status has the type int"),
    Case("status is bytes", Broken((b"200 OK", PLAIN)), "500", "the app's status has the type bytes"),
    Case("status is None", Broken((None, PLAIN)), "500", "the app's status has the type NoneType"),
    Case("status is empty", Broken(("", PLAIN)), "500", "the app's status is ''"),
    Case("status is a word", Broken(("OK", PLAIN)), "500", "the app's status is 'OK'"),
    Case("status has no space", Broken(("200OK", PLAIN)), "500", "the app's status is '200OK'"),
    Case("status is 100", Broken(("100 Continue", PLAIN)), "500", "from 200 to 599"),
    Case("status is 600", Broken(("600 Beyond", PLAIN)), "500", "from 200 to 599"),
    Case("status has CRLF", Broken(("200 OK\r\nX-A: b", PLAIN)), "500", "without control characters"),
    # the headers
    Case("headers are None", Broken(("200 OK", None)), "500", "the app raised TypeError"),
    Case("headers are a dict", Broken(("200 OK", dict(PLAIN))), "500", "not a pair of name and value"),
    Case("a header is a str", Broken(("200 OK", ["X-A: b"])), "500", "hold a str that is not a pair"),
    Case("a header is a triple", Broken(("200 OK", [("X-A", "b", "c")])), "500", "hold a tuple that is not"),
    Case("header name is bytes", header(b"X-A", "b"), "500", "header name b'X-A' is not a str"),
    Case("header name is empty", header("", "b"), "500", "header name '' is not"),
    Case("header name has a colon", header("X-A:", "b"), "500", "header name 'X-A:' is not"),
    Case("header name has a space", header("X A", "b"), "500", "header name 'X A' is not"),
    Case("header name has CRLF", header("X-A\r\nX-B", "b"), "500", r"header name 'X-A\r\nX-B' is not"),
    Case("header name is not ASCII", header("X-\xc4", "b"), "500", "header name 'X-\xc4' is not"),
    Case("header value is a number", header("X-A", 7), "500", "header 'X-A' has a value of type int"),
    Case("header value is bytes", header("X-A", b"b"), "500", "header 'X-A' has a value of type bytes"),
    Case("header value is None", header("X-A", None), "500", "header 'X-A' has a value of type NoneType"),
    Case("header value has CR", header("X-A", "b\rc"), "500", "header 'X-A' has a control character"),
    Case("header value has LF", header("X-A", "b\nc"), "500", "header 'X-A' has a control character"),
    Case("header value has NUL", header("X-A", "b\0c"), "500", "header 'X-A' has a control character"),
    Case("header value is no latin-1", header("X-A", "\u20ac"), "500", "characters outside latin-1"),
    Case("hop-by-hop header", header("Connection", "close"), "whole", "removed the app's header"),
    Case("sets the framing", header("Transfer-Encoding", "chunked"), "whole", "'transfer-encoding'"),
    # Content-Length
    Case("length is a word", length("four", [b"body"]), "500", "Content-Length is 'four'"),
    Case("length is negative", length("-4", [b"body"]), "500", "Content-Length is '-4'"),
    Case("length has a sign", length("+4", [b"body"]), "500", "Content-Length is '+4'"),
    Case("length is a list", length("4, 4", [b"body"]), "500", "Content-Length is '4, 4'"),
    Case(
        "two lengths",
        Broken(("200 OK", [("Content-Length", "4"), ("content-length", "4")])),
        "500",
        "the header Content-Length twice",
    ),
    Case("body is too short", length("7", [b"body"]), "cut", "is 3 bytes shorter than its Content-Length"),
    Case("body is missing", length("4", []), "500", "is 4 bytes shorter than its Content-Length"),
    Case("body is too long", length("4", [b"body", b"more"]), "whole", "cut the app's body"),
    Case(
        "written body is too long",
        _write_too_much,
        "whole",
        "called write() with its response already complete",
        and_log="cut the app's body",
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.fault) for case in CASES])
async def test_a_broken_app(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    await _serve_and_go_on(case.app, case.end)
    lines = [record.getMessage() for record in caplog.records if record.name == "bridge"]
    expected = [case.log] if case.and_log is None else [case.log, case.and_log]
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert line.startswith("GET /broken: ")
        assert part in line


async def test_an_async_app_is_told_so() -> None:
    with pytest.raises(TypeError, match="is an async callable, so an ASGI application"):
        async with adapted(_be_async):  # type: ignore[arg-type]  # its fault
            pass


async def _serve_and_go_on(app: WSGIApplication, end: End, **scope: Any) -> None:
    async with adapted(beside_hello(app), threads=1) as adapter:
        exchange = Exchange(adapter, b"/broken", **scope)
        if end == "cut":
            with pytest.raises(ApplicationError, match="GET /broken: response cut short"):
                await exchange.run()
        else:
            await exchange.run()
        reply = exchange.reply
        assert reply.is_complete == (end != "cut")
        assert reply.status == (500 if end == "500" else 200)
        if end == "500":
            assert reply.body == b"Internal Server Error"
        elif end == "whole":
            assert reply.body == b"body"
        assert (await Exchange(adapter, b"/hello").run()).body == b"hello"


# Anything, anywhere


class Unspeakable(Exception):
    """Breaks whoever looks at it."""

    def __str__(self) -> str:
        raise RuntimeError("an exception without words")

    __repr__ = __str__


class BaseOfItsOwn(BaseException):
    pass


def _chained() -> BaseException:
    error = RuntimeError("on top")
    error.__cause__ = error.__context__ = error  # a circle
    return error


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "Exception": lambda: Exception("anything"),
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "TimeoutError": TimeoutError,
    "ConnectionResetError": ConnectionResetError,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "UnicodeError": lambda: UnicodeEncodeError("latin-1", "\ud800", 0, 1, "surrogates"),
    "ApplicationError": lambda: ApplicationError("the app's own idea"),
    "an exception group": lambda: BaseExceptionGroup("several", [SystemExit(), ValueError()]),
    "a base exception of its own": BaseOfItsOwn,
    "an exception whose str raises": Unspeakable,
    "an exception that is its own cause": _chained,
}


class Raising:
    """An app that raises at one point of its call."""

    def __init__(self, point: str, new_exception: Callable[[], BaseException]) -> None:
        self.point = point
        self.new_exception = new_exception
        self.closed = 0

    def reach(self, point: str) -> None:
        if self.point == point:
            raise self.new_exception()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> "Raising":
        self.reach("in the call")
        environ["wsgi.input"].read()
        write = start_response("200 OK", PLAIN)
        self.reach("after start_response")
        if self.point == "after write()":
            write(b"bo")
        self.reach("after write()")
        return self

    def __iter__(self) -> "Raising":
        self.reach("in iter()")
        self.chunks = iter([b"", b"bo", b"dy"])
        return self

    def __next__(self) -> bytes:
        chunk = next(self.chunks)
        if chunk == b"bo":
            self.reach("before the first bytes")
        elif chunk == b"dy":
            self.reach("in the middle")
        return chunk

    def close(self) -> None:
        self.closed += 1
        self.reach("in close()")


POINTS: dict[str, End] = {
    "in the call": "500",
    "after start_response": "500",
    "after write()": "cut",
    "in iter()": "500",
    "before the first bytes": "500",
    "in the middle": "cut",
    "in close()": "whole",
}


@pytest.mark.parametrize(
    ("exception", "point"),
    [
        (exception, point)
        for exception in EXCEPTIONS
        for point in POINTS
        # There, it is no failure but the end of the body.
        if not (exception == "StopIteration" and point in ("before the first bytes", "in the middle"))
    ],
)
async def test_an_app_that_raises(exception: str, point: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Raising(point, EXCEPTIONS[exception])
    end = POINTS[point]
    name = type(EXCEPTIONS[exception]()).__name__
    await _serve_and_go_on(app, end)
    assert app.closed == (point not in ("in the call", "after start_response", "after write()"))
    [record] = [record for record in caplog.records if record.name == "bridge"]
    assert record.levelno == logging.ERROR
    line = record.getMessage()
    assert line.startswith("GET /broken: ")
    assert ("the app's own idea" if exception == "ApplicationError" else f"the app raised {name}") in line
    assert {
        "500": "before its headers were out; answering 500",
        "cut": "with its headers out; cutting the connection",
        "whole": "after its response was complete; the client has noticed nothing",
    }[end] in line


async def test_a_generator_that_raises_stop_iteration(caplog: pytest.LogCaptureFixture) -> None:
    """Python makes it a RuntimeError (PEP 479), or half a body would look like a whole one."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"bo"
        raise StopIteration

    await _serve_and_go_on(app, "cut")
    assert "the app raised RuntimeError" in caplog.text


async def test_a_failing_body_and_a_failing_close(caplog: pytest.LogCaptureFixture) -> None:
    class Both(Raising):
        def close(self) -> None:
            super().close()
            raise LookupError("no less")

    app = Both("in the middle", lambda: ValueError("the first of two"))
    await _serve_and_go_on(app, "cut")
    assert app.closed == 1
    assert "the first of two" in caplog.text
    assert "no less" in caplog.text


async def test_what_an_app_does_to_its_environ_is_its_own_affair(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["asgi.scope"]["path"] = "/elsewhere"
        environ["asgi.scope"].pop("method")
        environ["wsgi.input"].close()
        environ.clear()
        return answering([b"body"])(environ, start_response)

    await _serve_and_go_on(app, "whole")
    assert caplog.records == []


async def test_the_log_says_nothing_of_secrets_and_stays_on_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with adapted(Broken(("200 OK", [("X-Token", "s3cret\n")]))) as adapter:
        await Exchange(adapter, b"/a%0Ab%1b%C3%A9?password=s3cret").run()
    [record] = caplog.records
    line = record.getMessage()
    assert line.startswith(r"GET /a\nb\x1b\xe9: ")
    assert line.isprintable()
    assert "s3cret" not in line
