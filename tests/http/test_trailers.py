"""Trailers of ASGI apps on Bridge's own HTTP (ASGI, "HTTP Trailers"; RFC 9110, 6.5)."""

from typing import Any

import pytest

from tests.server.wire import exchange

SUM = (b"Digest", b"abc")


def start(*headers: tuple[bytes, bytes], status: int = 200, trailers: bool = True) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers, "trailers": trailers}


def body(data: bytes = b"done", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def trailers(*fields: tuple[bytes, bytes], more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.trailers", "headers": fields, "more_trailers": more}


LENGTH = (b"content-length", b"4")
ASKS = "TE: trailers\r\n"
WHOLE = "4\r\ndone\r\n0\r\n\r\n"

# What the app sends, what the client asks, what is behind the head.
CASES: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "sent": ([start(), body(), trailers(SUM)], ASKS, "4\r\ndone\r\n0\r\ndigest: abc\r\n\r\n"),
    "in two events": (
        [start(), body(), trailers(SUM, more=True), trailers((b"x", b"1"))],
        ASKS,
        "4\r\ndone\r\n0\r\ndigest: abc\r\nx: 1\r\n\r\n",
    ),
    "behind a stream": (
        [start(), body(b"do", more=True), body(b"ne"), trailers(SUM)],
        ASKS,
        "2\r\ndo\r\n2\r\nne\r\n0\r\ndigest: abc\r\n\r\n",
    ),
    "behind an empty body": ([start(), body(b""), trailers(SUM)], ASKS, "0\r\ndigest: abc\r\n\r\n"),
    "none after all": ([start(), body(), trailers()], ASKS, WHOLE),
    "not announced, and none": ([start(trailers=False), body()], ASKS, WHOLE),
    "among other codings": (
        [start(), body(), trailers(SUM)],
        "TE: gzip;q=0.5, Trailers\r\n",
        "4\r\ndone\r\n0\r\ndigest: abc\r\n\r\n",
    ),
    "the client takes none": ([start(), body(), trailers(SUM)], "", WHOLE),
    "the client takes other codings": ([start(), body(), trailers(SUM)], "TE: gzip\r\n", WHOLE),
    "with a length, there is no place": ([start(LENGTH), body(), trailers(SUM)], ASKS, "done"),
    "a 304 has no place": ([start(status=304), body(b""), trailers(SUM)], ASKS, ""),
}


def app_of(events: list[dict[str, Any]]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in events:
            await send(event)

    return app


@pytest.mark.parametrize(("events", "asked", "expected"), CASES.values(), ids=CASES)
async def test_trailers(events: list[dict[str, Any]], asked: str, expected: str) -> None:
    wire = await exchange(app_of(events), [f"GET / HTTP/1.1\r\nHost: a\r\n{asked}\r\n".encode()])
    assert wire.sent.decode().partition("\r\n\r\n")[2] == expected
    assert not wire.is_closed  # it goes on


async def test_a_head_request_gets_none() -> None:
    app = app_of([start(), body(), trailers(SUM)])
    wire = await exchange(app, [f"HEAD / HTTP/1.1\r\nHost: a\r\n{ASKS}\r\n".encode()])
    assert wire.sent.endswith(b"\r\n\r\n")
    assert b"digest" not in wire.sent


async def test_http_10_is_not_offered_them_and_gets_none() -> None:
    offered = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        offered.append("http.response.trailers" in scope["extensions"])
        for event in (start(), body(), trailers(SUM)):
            await send(event)

    for version in ("1.0", "1.1"):
        wire = await exchange(app, [f"GET / HTTP/{version}\r\nHost: a\r\n{ASKS}\r\n".encode()])
        assert (b"digest" in wire.sent) == (version == "1.1")
    assert offered == [False, True]


WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a framing field": (
        [start(), body(), trailers((b"Content-Length", b"4"))],
        "the app sent the trailer 'content-length', which belongs in the head",
    ),
    "a cookie": ([start(), body(), trailers((b"set-cookie", b"a=b"))], "the trailer 'set-cookie'"),
    "a line break": ([start(), body(), trailers((b"x", b"a\r\nb: c"))], "control character"),
    "a body in their place": ([start(), body(), body()], "in place of the trailers that it announced"),
    "not announced": (
        [start(trailers=False), body(b"do", more=True), trailers(SUM)],
        "the app sent 'http.response.trailers' in the middle of its response's body",
    ),
    "missing": ([start(), body()], "ASGI callable returned without completing response."),
}


@pytest.mark.parametrize(("events", "message"), WRONG.values(), ids=WRONG)
async def test_the_connection_ends_within_the_response_of_an_app_that_fails(
    events: list[dict[str, Any]], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = await exchange(app_of(events), [f"GET / HTTP/1.1\r\nHost: a\r\n{ASKS}\r\n".encode()])
    assert message in caplog.text
    assert wire.is_closed
    assert b"0\r\n" not in wire.sent.partition(b"\r\n\r\n")[2]  # so the client sees that it is not whole
