"""Hosts and apps that do what they should not, when it hurts most: no thread and no task may hang."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import StartResponse, WSGIEnvironment
from tests.asgi_host import ScriptedHost, body_event
from tests.conformance.apps import PLAIN, beside_hello, hello
from tests.conformance.exchange import Exchange, Signal, adapted, turns, turns_until
from tests.core.links import http_scope

EVENTS = [("Content-Type", "text/event-stream")]


def two_steps(may_go_on: threading.Event) -> Any:
    """An app that reads its body, and answers with it in two steps."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN)
        yield b"got "
        may_go_on.wait()
        yield body

    return app


async def is_watched(exchange: Exchange) -> None:
    """Wait until the adapter listens for what comes from the client."""
    await turns_until(lambda: exchange.receiving > 0)


# receive


async def test_a_receive_that_repeats_the_body_is_not_called_for_ever() -> None:
    """Middleware that has read the body often replays it so, and never tells of a disconnect."""

    class Repeating(Exchange):
        async def receive(self) -> Any:
            self.received += 1
            assert self.received < 10
            return body_event(b"the body")

    may_go_on = threading.Event()
    async with adapted(two_steps(may_go_on)) as adapter:
        exchange = Repeating(adapter, method="POST")
        call = exchange.start()
        await exchange.until_streaming()
        may_go_on.set()
        assert (await call).body == b"got the body"


@pytest.mark.parametrize("reads", [False, True], ids=["a sending app", "a reading app"])
async def test_a_receive_that_fails_during_a_stream_ends_it(reads: bool) -> None:
    closed = Signal()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        try:
            yield b"first"
            if reads:
                environ["wsgi.input"].read()
            while True:
                yield b"x"
        finally:
            closed.set()

    class Failing(Exchange):
        async def receive(self) -> Any:
            await super().receive()
            raise RuntimeError("the middleware is broken")

    async with adapted(beside_hello(app), threads=1) as adapter:
        exchange = Failing(adapter, method="POST", body=())
        call = exchange.start()
        await exchange.until_streaming()
        await exchange.leave()  # which lets receive go on
        with pytest.raises(RuntimeError, match="the middleware is broken"):
            await call
        await closed.wait()


async def test_a_body_that_another_thread_waits_for_does_not_hold_the_response_back() -> None:
    """An app may hand its input to a thread, and answer at once; the client may send nothing until then."""
    may_answer = threading.Event()
    threads: list[threading.Thread] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def read() -> None:
            with pytest.raises(ClientDisconnected):
                environ["wsgi.input"].read()

        threads.append(threading.Thread(target=read))
        threads[0].start()
        may_answer.wait()
        return hello(environ, start_response)

    async with adapted(app) as adapter:
        exchange = Exchange(adapter, method="POST", body=())
        call = exchange.start()
        await is_watched(exchange)
        may_answer.set()
        try:
            async with asyncio.timeout(1):
                await exchange.until_streaming()
        finally:
            await exchange.leave()
            await call
            threads[0].join(timeout=5)


async def test_an_app_that_sends_and_then_reads_has_both_go_on() -> None:
    """Both arrive while the loop is busy; the client takes nothing before it has sent all."""
    may_go_on = threading.Event()
    has_sent = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        may_go_on.wait()
        start_response("200 OK", PLAIN)
        yield b"hello, "
        has_sent.set()
        yield environ["wsgi.input"].read()

    class SendsFirst(Exchange):
        async def send(self, event: Any) -> None:
            if event["type"] == "http.response.body":
                await self.until(lambda: self.received == 2)
            await super().send(event)

    def keep_the_loop_busy() -> None:
        has_sent.wait()
        time.sleep(0.05)  # until the app is most likely reading, for which there is no event

    async with adapted(app) as adapter:
        exchange = SendsFirst(adapter, method="POST", body=(b"wor", b"ld"))
        call = exchange.start()
        await turns(5)
        may_go_on.set()
        keep_the_loop_busy()
        assert (await call).body == b"hello, world"


# Streams that are told to end


def events(closed: Signal, *, last_words: threading.Event | None = None) -> Any:
    """An app of endless server-sent events."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", EVENTS)
        try:
            while True:
                yield b"data: 1\n\n"
                if last_words is not None:
                    last_words.wait()
        finally:
            closed.set()

    return app


@pytest.mark.parametrize("buffer_size", [1, 65536])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 100])
async def test_a_stalled_stream_that_is_told_to_end_ends_completely(buffer_size: int, number: int) -> None:
    closed = Signal()
    async with adapted(events(closed), buffer_size=buffer_size) as adapter:
        exchange = Exchange(adapter)
        call = exchange.start()
        await exchange.until_streaming()
        await turns(number)
        await exchange.stall()
        adapter.end_streams()
        await closed.wait()
        await exchange.go_on()
        assert (await call).is_complete


async def test_a_stream_is_ended_though_its_end_takes_long_to_send() -> None:
    """The app ends while the host is sending the end: the one must not miss the other."""
    closed = Signal()
    last_words = threading.Event()
    async with adapted(events(closed, last_words=last_words)) as adapter:
        exchange = Exchange(adapter)
        call = exchange.start()
        await exchange.until_streaming()
        await is_watched(exchange)
        await exchange.stall()
        adapter.end_streams()
        await turns(5)
        last_words.set()
        await closed.wait()
        await turns(5)
        await exchange.go_on()
        assert (await call).is_complete


async def test_a_client_that_leaves_as_its_stream_is_ended_is_no_error() -> None:
    closed = Signal()
    last_words = threading.Event()
    async with adapted(events(closed, last_words=last_words)) as adapter:
        exchange = Exchange(adapter)
        call = exchange.start()
        await exchange.until_streaming()
        await is_watched(exchange)
        exchange.send_failure = ConnectionResetError()
        adapter.end_streams()
        last_words.set()
        assert not (await call).is_complete


async def test_a_stream_that_waits_for_its_request_is_ended() -> None:
    reading = Signal()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", EVENTS)
        yield b"data: 1\n\n"
        reading.set()
        environ["wsgi.input"].read()

    async with adapted(app) as adapter:
        exchange = Exchange(adapter, method="POST", body=())
        call = exchange.start()
        await exchange.until_streaming()
        await reading.wait()
        await is_watched(exchange)
        adapter.end_streams()
        assert (await call).is_complete


# What is left of a call that is over


async def test_a_body_read_after_the_call_does_not_wait_for_ever() -> None:
    kept: list[Any] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kept.append(environ["wsgi.input"])
        return hello(environ, start_response)

    async with adapted(app) as adapter:
        await Exchange(adapter, method="POST", body=(b"a body",)).run()
        with pytest.raises(ClientDisconnected):
            kept[0].read()


async def test_a_body_being_read_by_another_thread_when_the_call_ends_does_not_wait_for_ever() -> None:
    """As in an app that pumps its input in a thread of its own."""
    may_read = threading.Event()
    reading = threading.Event()
    raised: list[BaseException] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        def read() -> None:
            may_read.wait()
            reading.set()
            try:
                environ["wsgi.input"].read()
            except ClientDisconnected as error:
                raised.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        threads.append(thread)
        start_response("200 OK", PLAIN)
        yield b"first"
        reading.wait()
        yield b"second"

    threads: list[threading.Thread] = []
    async with adapted(app) as adapter:
        exchange = Exchange(adapter, method="POST", body=())
        call = exchange.start()
        await exchange.until_streaming()
        may_read.set()
        assert (await call).body == b"firstsecond"
        threads[0].join(timeout=5)
        assert not threads[0].is_alive()
    assert len(raised) == 1


async def test_a_write_after_the_call_is_an_error_of_the_app() -> None:
    kept: list[Any] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kept.append(start_response("200 OK", PLAIN))
        if environ["PATH_INFO"] == "/fails":
            raise LookupError
        return [b"hello"]

    async with adapted(app) as adapter:
        for path, status in ((b"/", 200), (b"/fails", 500)):
            exchange = Exchange(adapter, path)
            assert (await exchange.run()).status == status
            sent = list(exchange.sent)
            with pytest.raises((ApplicationError, ClientDisconnected)):
                kept.pop()(b"too late")
            assert exchange.sent == sent


# Loops that close


@pytest.mark.parametrize("does", ["reads", "sends"])
def test_a_loop_that_closes_under_calls_frees_every_thread(does: str) -> None:
    """A loop closed without cancelling its tasks: no thread may be told nothing because another was told."""
    number = 4
    all_here = threading.Barrier(number + 1)
    may_go_on = threading.Event()
    raised: list[type[BaseException]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        all_here.wait()
        may_go_on.wait()
        start_response("200 OK", PLAIN)
        try:
            if does == "reads":
                environ["wsgi.input"].read()
            while True:
                yield bytes(100_000)
        except (ClientDisconnected, GeneratorExit) as error:
            raised.append(type(error))
            raise

    async def begin(adapter: WSGIToASGI) -> list[asyncio.Task[None]]:
        host = ScriptedHost()
        calls = [asyncio.create_task(adapter(http_scope(), host.receive, host.send)) for _ in range(number)]
        await asyncio.sleep(0)
        return calls

    before = set(threading.enumerate())
    adapter = WSGIToASGI(app)
    loop = asyncio.new_event_loop()
    calls = loop.run_until_complete(begin(adapter))
    all_here.wait()
    loop.close()
    may_go_on.set()
    threads = set(threading.enumerate()) - before
    for call in calls:
        call._log_destroy_pending = False  # type: ignore[attr-defined]  # which is what this is about
    del adapter, calls, call
    for thread in threads:
        while thread.is_alive():  # until the timeout of the test
            gc.collect()  # the tasks and the adapter hold each other
            thread.join(0.01)
    assert len(raised) == number


def test_a_thread_that_outlives_lifespan_and_loop_ends_quietly() -> None:
    """A shutdown that is cancelled, as by a second Ctrl-C, does not wait for a busy thread."""
    started = threading.Event()
    may_go_on = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started.set()
        may_go_on.wait()
        return hello(environ, start_response)

    async def serve() -> None:
        async with adapted(app) as adapter:
            call = Exchange(adapter).start()
            await turns_until(started.is_set)
            call.cancel()
            await asyncio.wait([call])

    async def shut_down_in_a_hurry() -> None:
        serving = asyncio.create_task(serve())
        await turns_until(started.is_set)
        await turns(10)
        serving.cancel()
        await asyncio.wait([serving])

    before = set(threading.enumerate())
    asyncio.run(shut_down_in_a_hurry())
    may_go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()
