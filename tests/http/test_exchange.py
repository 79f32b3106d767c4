"""An exchange as hooks see it, and the hooks of a server."""

from contextvars import Context
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.core.call_facts import CallFacts
from bridge.core.link import Head, Part
from bridge.http.exchange import Exchange, Hook, Hooks
from bridge.http.limits import BAD_REQUEST
from bridge.http.request import Request

HEAD = Head(201, b"", [])


def exchange() -> Exchange:
    return Exchange(Request("GET", b"/", b"", "1.1", [(b"host", b"a")]), Context())


def test_the_status() -> None:
    """The response's; else the server's own; 500 for an app that gave none; none for a client that left."""
    answered, refused, silent, left, open_ = (exchange() for _ in range(5))
    answered.head = HEAD
    refused.refusal = BAD_REQUEST
    silent.end()
    left.end(has_left=True)
    assert [each.status for each in (answered, refused, silent, left, open_)] == [201, 400, 500, None, None]


def test_the_first_end_counts() -> None:
    ended = exchange()
    ended.end()
    seconds = ended.seconds
    ended.end(has_left=True)
    assert (ended.seconds, ended.has_left) == (seconds, False)
    assert seconds >= 0


@pytest.mark.parametrize(
    ("call", "scope", "route"),
    [
        (None, None, ""),
        (CallFacts(route="/user/<id>"), None, "/user/<id>"),
        (None, {"route": SimpleNamespace(path="/user/{id}")}, "/user/{id}"),
        (None, {"route": SimpleNamespace(path=7)}, ""),
        (None, {}, ""),
    ],
)
def test_the_route(call: CallFacts | None, scope: Any, route: str) -> None:
    routed = exchange()
    routed.call, routed.scope = call, scope
    assert routed.route == route


@pytest.mark.parametrize(("known", "route"), [("", "/user/<id>"), ("/other", "/other")])
def test_the_end_notes_the_route_that_the_app_has_found(known: str, route: str) -> None:
    request = SimpleNamespace(url_rule=SimpleNamespace(rule="/user/<id>"))
    ended = exchange()
    ended.call = CallFacts(route=known, environ={"werkzeug.request": request})
    ended.end()
    assert ended.route == route


class Hinted:
    """What serves an exchange, as far as hints go."""

    def __init__(self) -> None:
        self.hints: list[tuple[bytes, bytes]] = []

    def cut(self, answer: Part) -> None:
        raise NotImplementedError

    def hint(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.hints += fields


def test_hints_reach_what_serves() -> None:
    served, hinted = exchange(), Hinted()
    served.hint([(b"link", b"</early.css>")])  # nothing serves it yet
    served.serving = hinted
    served.hint([(b"link", b"</style.css>")])
    assert hinted.hints == [(b"link", b"</style.css>")]


def test_a_hook_does_nothing_by_itself() -> None:
    hook, seen = Hook(), exchange()
    assert hook.on_request(seen) is None
    assert hook.on_refused(seen, BAD_REQUEST) is BAD_REQUEST
    assert hook.on_head(seen, HEAD) is HEAD
    hook.on_stream(seen)
    hook.on_end(seen)
    hook.on_websocket(101)
    hook.on_websocket_end()


class Ending(Hook):
    def __init__(self, ended: list[str], name: str) -> None:
        self._ended = ended
        self._name = name

    def on_end(self, exchange: Exchange) -> None:
        self._ended.append(self._name)
        if self._name == "broken":
            raise LookupError("on purpose")


def test_a_hook_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    hooks = Hooks([Ending(ended, "broken"), Hook(), Ending(ended, "last")])
    hooks.end(exchange())
    assert ended == ["broken", "last"]
    assert "LookupError: on purpose" in caplog.text


def test_what_a_hook_leaves_out_is_not_called() -> None:
    hooks = Hooks([Ending([], "end")])
    assert (hooks.request, hooks.head, hooks.stream, hooks.websocket) == ([], [], [], [])
    Hooks().end(exchange())


class OfWebSockets(Hook):
    def __init__(self) -> None:
        self.seen: list[int | str] = []

    def on_websocket(self, status: int) -> None:
        self.seen.append(status)

    def on_websocket_end(self) -> None:
        self.seen.append("end")


def test_hooks_learn_of_a_websocket_and_of_its_end() -> None:
    hook = OfWebSockets()
    hooks = Hooks([hook])
    hooks.websocket_answered(101)
    hooks.websocket_ended()
    assert hook.seen == [101, "end"]
