"""A call in single steps, as a runner takes it that has each of them done in another place."""

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from flask import Flask, request

from bridge.core.call import Call
from bridge.core.link import Part
from bridge.core.response import State
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment
from tests.core.links import Body, Failure, ListLink, Reply, without_collector, wsgi_environ


def answering(body: Iterable[bytes], *headers: tuple[str, str], status: str = "200 OK") -> WSGIApplication:
    """An app that starts a response and returns `body`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body

    return app


def writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])(b"written")
    return [b"returned"]


def raising(error: BaseException) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        raise error

    return app


def call_of(app: WSGIApplication, method: str = "GET") -> Call:
    return Call(app, wsgi_environ(method=method))


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, from warnings upwards."""
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


# start


def test_start_returns_what_the_app_returns() -> None:
    """As it is: not iterated over, nothing read, nothing sent."""
    body = Body(b"a")
    link = ListLink([b"sent"])
    call = call_of(answering(body, status="201 Created"))
    assert call.start(link) is body
    assert (link.parts, link.reads, body.closed) == ([], 0, 0)
    assert call.response.state is State.READY
    assert call.response.head is not None
    assert call.response.head.status == 201


@pytest.mark.parametrize(
    "error", [Failure(), StopIteration(), SystemExit(), ClientDisconnected(), ApplicationError()]
)
def test_start_raises_what_the_app_raises(error: BaseException) -> None:
    link = ListLink()
    with pytest.raises(type(error)) as raised:
        call_of(raising(error)).start(link)
    assert raised.value is error
    assert link.parts == []


def test_start_sends_what_the_app_writes() -> None:
    """PEP 3333, "The write() Callable": before it returns."""
    link = ListLink()
    call_of(writing).start(link)
    assert Reply.of(link.parts).body == b"written"


# finish


def test_finish_may_use_another_link_than_start() -> None:
    """A runner that has called the app in one place and iterates in another has one for each."""
    first, second = ListLink(), ListLink()
    call = call_of(writing)
    call.finish(call.start(first), second)
    assert [data for _, data, _ in first.parts] == [b"written"]
    assert second.parts == [(None, b"returned", True), (None, b"", False)]


def test_each_step_may_be_taken_in_another_thread() -> None:
    body = Body(b"a", b"b")
    link = ListLink()
    call = call_of(answering(body))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call.finish, call.start(link), link).result()
    reply = Reply.of(link.parts)
    assert (reply.body, reply.is_complete, body.closed) == (b"ab", True, 1)


@pytest.mark.parametrize(
    ("body", "link", "error"),
    [
        pytest.param(Body(Failure()), ListLink(), Failure, id="the app raises"),
        pytest.param(Body(b"a", Failure()), ListLink(), Failure, id="the app raises later"),
        pytest.param(Body(b"a", close=Failure()), ListLink(), Failure, id="close() raises"),
        pytest.param(Body(b"a"), ListLink(leaves_after=0), ClientDisconnected, id="the client leaves"),
        pytest.param(Body(b""), ListLink(leaves_after=0), ClientDisconnected, id="while nothing comes"),
        pytest.param(Body(), ListLink(leaves_after=0), ClientDisconnected, id="at the end"),
        pytest.param(Body(b"a"), ListLink(leaves_after=0, failure=Failure()), Failure, id="the link fails"),
    ],
)
def test_finish_raises_and_has_closed(body: Body, link: ListLink, error: type[Exception]) -> None:
    call = call_of(answering(body))
    chunks = call.start(link)
    with pytest.raises(error):
        call.finish(chunks, link)
    assert body.closed == 1


def test_error_of_close_has_that_of_the_body_behind_it() -> None:
    """Neither is lost: the log shows both."""
    first, second = Failure("in the body"), Failure("in close()")
    call = call_of(answering(Body(first, close=second)))
    link = ListLink()
    with pytest.raises(Failure) as raised:
        call.finish(call.start(link), link)
    assert raised.value is second
    assert raised.value.__context__ is first


# end and close, of a driver that iterates by itself


def driven(call: Call, link: ListLink) -> None:
    """Make the whole call, with the iteration outside of it: what a runner does for parts from elsewhere."""
    try:
        chunks = call.start(link)
        try:
            for chunk in chunks:
                part = call.response.chunk(chunk)
                if part is not None:
                    link.send(*part)
                elif chunk:
                    break
            call.end(link)
        finally:
            call.close(chunks)
    except Exception as error:  # noqa: BLE001  # as Call.run
        call.fail(error, link)


DRIVEN: list[tuple[str, Callable[[], WSGIApplication]]] = [
    ("chunks", lambda: answering(Body(b"a", b"", b"b"))),
    ("nothing", lambda: answering(Body())),
    ("the declared length", lambda: answering(Body(b"ab"), ("Content-Length", "2"))),
    ("more than declared", lambda: answering(Body(b"ab", b"cd", b"ef"), ("Content-Length", "3"))),
    ("less than declared", lambda: answering(Body(b"ab"), ("Content-Length", "3"))),
    ("nothing of what was declared", lambda: answering(Body(), ("Content-Length", "3"))),
    ("write()", lambda: writing),
    ("the app raises", lambda: raising(Failure())),
    ("the body raises", lambda: answering(Body(Failure()))),
    ("the body raises later", lambda: answering(Body(b"a", Failure()))),
    ("close() raises", lambda: answering(Body(b"a", close=Failure()))),
    ("no start_response", lambda: lambda environ, start_response: Body(b"a")),
    ("no start_response, no chunk", lambda: lambda environ, start_response: Body()),
]


def parts_and_error(make: Callable[[], None], link: ListLink) -> tuple[list[Part], str | None]:
    try:
        make()
    except ApplicationError as error:
        return link.parts, str(error)
    return link.parts, None


@pytest.mark.parametrize("app", [pytest.param(app, id=name) for name, app in DRIVEN])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("leaves_after", [None, 0, 1])
def test_a_driver_that_iterates_gives_what_run_gives(
    app: Callable[[], WSGIApplication], method: str, leaves_after: int | None
) -> None:
    whole, stepped = (ListLink(leaves_after=leaves_after) for _ in range(2))
    run, steps = (call_of(app(), method) for _ in range(2))
    expected = parts_and_error(lambda: run.run(whole), whole)
    assert parts_and_error(lambda: driven(steps, stepped), stepped) == expected


def test_end_is_sent_once() -> None:
    link = ListLink()
    call = call_of(answering([]))
    call.start(link)
    call.end(link)
    call.end(link)
    [(head, data, more)] = link.parts
    assert head is call.response.head
    assert (data, more) == (b"", False)


@pytest.mark.parametrize(
    ("app", "message"),
    [
        (lambda environ, start_response: [], "without calling start_response"),
        (answering([], ("Content-Length", "3")), "3 bytes shorter than its Content-Length"),
    ],
    ids=["no start_response", "bytes owed"],
)
def test_end_that_is_none(app: WSGIApplication, message: str) -> None:
    link = ListLink()
    call = call_of(app)
    call.start(link)
    with pytest.raises(ApplicationError, match=message):
        call.end(link)
    assert link.parts == []


@pytest.mark.parametrize("chunks", [[], (), iter(()), None, 7])
def test_what_has_no_close_is_not_closed(chunks: object) -> None:
    """PEP 3333 asks for `close` only "if it has one"; whether it is an iterable at all is not asked here."""
    call_of(answering([])).close(chunks)


def test_report_logs_what_was_mended(caplog: pytest.LogCaptureFixture) -> None:
    call = call_of(answering([], ("Transfer-Encoding", "chunked")))
    call.start(ListLink())
    assert warnings(caplog) == []
    call.report()
    [warning] = warnings(caplog)
    assert "GET /: removed the app's header 'transfer-encoding'" in warning


def test_a_failure_is_logged_before_what_was_mended(caplog: pytest.LogCaptureFixture) -> None:
    call_of(answering(Body(Failure()), ("Transfer-Encoding", "chunked"))).run(ListLink())
    failed, mended = warnings(caplog)
    assert "the app raised Failure" in failed
    assert "transfer-encoding" in mended


# fail


def idle(call: Call, link: ListLink) -> None:
    """An app that failed before it called start_response."""


def ready(call: Call, link: ListLink) -> None:
    call.start(link)


def begun(call: Call, link: ListLink) -> None:
    call.start(link)
    part = call.response.chunk(b"begun")
    assert part is not None
    link.send(*part)


def complete(call: Call, link: ListLink) -> None:
    call.start(link)
    call.end(link)


FAILING: list[tuple[Callable[[Call, ListLink], None], int | None, bool, str]] = [
    # how far the call has come, the status of the client's answer, whether it is cut, what the log says
    (idle, 500, False, "before its headers were out; answering 500"),
    (ready, 500, False, "before its headers were out; answering 500"),
    (begun, 200, True, "with its headers out; cutting the connection"),
    (complete, 200, False, "after its response was complete; the client has noticed nothing"),
]


@pytest.mark.parametrize(("reach", "status", "is_cut", "message"), FAILING)
@pytest.mark.parametrize("error", [Failure("told"), SystemExit("told"), ApplicationError("told")])
def test_fail(
    reach: Callable[[Call, ListLink], None],
    status: int,
    is_cut: bool,
    message: str,
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = ListLink()
    call = call_of(answering([], ("X-App", "1")))
    reach(call, link)
    if is_cut:
        with pytest.raises(ApplicationError, match="GET /: response cut short"):
            call.fail(error, link)
    else:
        call.fail(error, link)
    reply = Reply.of(link.parts)
    assert (reply.status, reply.is_complete) == (status, not is_cut)
    assert (reply.header(b"x-app") is None) is (status == 500)
    [record] = caplog.records
    assert message in record.getMessage()
    is_own = isinstance(error, ApplicationError)
    assert ("told" in record.getMessage(), bool(record.exc_info)) == (is_own, not is_own)


@pytest.mark.parametrize("reach", [idle, ready, begun, complete])
def test_fail_for_a_client_that_left(
    reach: Callable[[Call, ListLink], None], caplog: pytest.LogCaptureFixture
) -> None:
    """It answers nobody, raises nothing, says nothing, and lets go of the frames of the call."""
    link = ListLink()
    call = call_of(answering([]))
    reach(call, link)
    before = list(link.parts)
    with pytest.raises(ClientDisconnected) as raised:
        raise ClientDisconnected
    call.fail(raised.value, link)
    assert raised.value.__traceback__ is None
    assert link.parts == before
    assert warnings(caplog) == []


def test_cut_response_hides_what_the_app_raised() -> None:
    """It is in the log; the host, which gets this one, need not log it again."""
    link = ListLink()
    call = call_of(answering([]))
    begun(call, link)
    with pytest.raises(ApplicationError) as raised:
        call.fail(Failure(), link)
    assert raised.value.__suppress_context__


def test_second_failure_sends_no_second_answer() -> None:
    """A driver that closes after it has answered may have close() fail, too."""
    link = ListLink()
    call = call_of(answering([]))
    call.fail(Failure("in the body"), link)
    call.fail(Failure("in close()"), link)
    assert Reply.of(link.parts).status == 500


def test_write_after_the_500_sends_nothing() -> None:
    """As of a thread of the app's that has got the callable."""
    link = ListLink()
    kept: list[Callable[[bytes], object]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        kept.append(start_response("200 OK", []))
        raise Failure

    call_of(app).run(link)
    with pytest.raises(ApplicationError, match="already complete"):
        kept[0](b"late")
    assert Reply.of(link.parts).status == 500


# Garbage


flask_app = Flask(__name__)
flask_app.config["PROPAGATE_EXCEPTIONS"] = True  # else it answers by itself, and leaves a cycle of its own


@flask_app.post("/")
def size() -> str:
    return str(len(request.get_data()))


def reading(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


def failing(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
    raise Failure


def is_cut(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    raise Failure


def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [])
    while True:
        yield b"tick"


class Canary:
    """Something in the environ that tells whether the request has been freed."""


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(answering([b"a"]), id="hello"),
        pytest.param(failing, id="fails"),
        pytest.param(writing, id="writes"),
        pytest.param(reading, id="reads"),
        pytest.param(is_cut, id="is cut"),
        pytest.param(endless, id="endless"),
        pytest.param(flask_app, id="Flask"),
    ],
)
@pytest.mark.parametrize(
    "ways",
    [
        pytest.param({}, id="by itself"),
        pytest.param({"leaves_after": 0}, id="by a disconnect"),
        pytest.param({"leaves_after": 1}, id="by a disconnect later"),
        pytest.param({"leaves_early": True}, id="by a disconnect in the body"),
    ],
)
def test_nothing_is_left_for_the_collector(
    app: WSGIApplication, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What a request has used is freed with the call, by its reference count."""
    if app is endless and "leaves_after" not in ways:
        ways = {"leaves_after": 5}
    for logger in ("", "bridge"):  # a kept log record would keep its traceback
        caplog.set_level(logging.CRITICAL, logger)

    def request() -> "weakref.ref[Canary]":
        canary = Canary()
        environ = {**wsgi_environ(method="POST"), "test.canary": canary}
        with suppress(ApplicationError):
            Call(app, environ).run(ListLink([b"a", b"b"], **ways))
        return weakref.ref(canary)

    request()  # Flask prepares itself for the first
    with without_collector():
        assert request()() is None
