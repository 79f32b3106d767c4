"""The view of a scope: it does all that the dict does, and is printed without a value."""

import copy
import io
import json
import pickle
import pprint
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from starlette.requests import Request

from bridge.asgi.environ import build_environ
from bridge.asgi.scope_view import ScopeView
from bridge.core.call_facts import CallFacts
from bridge.types import WebSocketScope, WSGIEnvironment
from bridge.websockets.host import WEBSOCKET, HostWebSocket
from tests.core.links import http_scope

SECRETS = [
    (b"authorization", b"Bearer canary"),
    (b"cookie", b"sessionid=canary"),
    (b"x-api-key", b"canary"),
]


def small_scope() -> dict[str, Any]:
    return {"type": "http", "path": "/", "headers": list(SECRETS)}


def set_item(scope: Any) -> None:
    scope["path"] = "/other"
    scope["new"] = 1


def delete_item(scope: Any) -> None:
    del scope["path"]


def merge(scope: Any) -> Any:
    scope |= {"path": "/merged"}
    return dict(scope)


def unpacked(**values: Any) -> dict[str, Any]:
    return values


# Each is done to a dict and to a view of one: what comes of it, and what is in the dict then, is the same.
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "item": lambda scope: scope["headers"],
    "missing item": lambda scope: scope["missing"],
    "set": set_item,
    "delete": delete_item,
    "delete a missing item": lambda scope: scope.__delitem__("missing"),
    "in": lambda scope: ("path" in scope, "missing" in scope),
    "iterate": list,
    "iterate backwards": lambda scope: list(reversed(scope)),
    "length": len,
    "truth": bool,
    "keys": lambda scope: scope.keys(),
    "values": lambda scope: list(scope.values()),
    "items": lambda scope: scope.items(),
    "get": lambda scope: (scope.get("path"), scope.get("missing"), scope.get("missing", 7)),
    "setdefault": lambda scope: (
        scope.setdefault("path", 7),
        scope.setdefault("n", 7),
        scope.setdefault("m"),
    ),
    "pop": lambda scope: (scope.pop("path"), scope.pop("path", None), scope.pop("path", 7)),
    "pop a missing item": lambda scope: scope.pop("missing"),
    "popitem": lambda scope: scope.popitem(),
    "update": lambda scope: scope.update({"path": "/a"}, new=1),
    "update by pairs": lambda scope: scope.update([("path", "/b")]),
    "update by two": lambda scope: scope.update({}, {}),
    "clear": lambda scope: scope.clear(),
    "copy": lambda scope: scope.copy(),
    "dict": dict,
    "in a dict": lambda scope: {**scope, "path": "/c"},
    "as keywords": lambda scope: unpacked(**scope),
    "or": lambda scope: scope | {"path": "/d"},
    "or, reversed": lambda scope: {"path": "/e", "first": 1} | scope,
    "merge": merge,
    "equal": lambda scope: (scope == small_scope(), scope == {}, scope != small_scope(), scope == 7),
    "hash": hash,
    "Starlette's request": lambda scope: Request(scope).headers["x-api-key"],
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_it_does_what_a_dict_does(operation: Callable[[Any], Any]) -> None:
    of_dict, of_view = small_scope(), small_scope()
    outcomes = []
    for subject in (of_dict, ScopeView(of_view)):
        try:
            outcomes.append(operation(subject))
        except (KeyError, TypeError) as error:
            outcomes.append((type(error), error.args if isinstance(error, KeyError) else None))
    assert outcomes[0] == outcomes[1]
    assert type(outcomes[0]) is type(outcomes[1])
    assert list(of_dict.items()) == list(of_view.items())


def test_views_of_equal_scopes_are_equal() -> None:
    assert ScopeView(small_scope()) == ScopeView(small_scope())
    assert ScopeView(small_scope()) != ScopeView({})


def test_a_copy_is_a_view_of_another_dict() -> None:
    view = ScopeView(small_scope())
    for other in (copy.copy(view), copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        assert isinstance(other, ScopeView)
        assert other == view
        other["path"] = "/other"
        assert view["path"] == "/"
    assert copy.copy(view)["headers"] is view["headers"]
    assert copy.deepcopy(view)["headers"] is not view["headers"]


def test_nobody_takes_it_for_something_to_walk_into() -> None:
    view = ScopeView(small_scope())
    assert not isinstance(view, (dict, Mapping, Sequence))
    assert type(view.scope) is dict


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        (http_scope(b"/a%20b?token=canary"), "<ScopeView 'http' 'GET' '/a b'>"),
        ({"type": "websocket", "path": "/a\nb"}, "<ScopeView 'websocket' '/a\\nb'>"),
        ({}, "<ScopeView>"),
    ],
)
def test_it_is_named(scope: Any, shown: str) -> None:
    assert repr(ScopeView(scope)) == shown


def _by_rich(value: object) -> str:
    console = Console(file=io.StringIO(), width=500)
    console.print(value)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _by_sentry(value: object) -> str:
    serializer = pytest.importorskip(
        "sentry_sdk.serializer", reason="the package 'sentry_sdk' is not installed"
    )
    # As the variables of a frame, with no limit: by itself it shows ten of a mapping.
    inf = float("inf")
    return str(serializer.serialize({"v": value}, is_vars=True, remaining_depth=inf, remaining_breadth=inf))


# Ways in which a value comes to a log, to a page, or to a reporter.
WAYS: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "format": lambda value: f"{value} {value!r} {value!s}",
    "%": lambda value: "%s %r" % (value, value),  # noqa: UP031  # as in logging
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "JSON": lambda value: json.dumps(value, default=repr),
    "rich": _by_rich,
    "rich's pretty": pretty_repr,
    "Sentry": _by_sentry,
}


def _websocket() -> HostWebSocket:
    scope: Any = {**http_scope(b"/chat", headers=SECRETS), "type": "websocket", "subprotocols": ["a"]}
    del scope["method"]
    websocket_scope: WebSocketScope = scope
    return HostWebSocket(websocket_scope, _no_receive, _no_send)


async def _no_receive() -> Any:
    raise AssertionError


async def _no_send(event: object) -> None:
    raise AssertionError


def _websocket_environ() -> WSGIEnvironment:
    websocket = _websocket()
    return {**build_environ(websocket.request, {}), WEBSOCKET: websocket}


ENVIRONS: dict[str, WSGIEnvironment] = {
    "HTTP": build_environ(http_scope(b"/", headers=SECRETS), {}),
    "with state": build_environ(http_scope(b"/", headers=SECRETS, state={"pool": 1}), {}),
    "with facts of the call": build_environ(
        http_scope(b"/", headers=SECRETS, **{"bridge.call": CallFacts()}), {}
    ),
    "websocket": _websocket_environ(),
}


@pytest.mark.parametrize("environ", ENVIRONS.values(), ids=ENVIRONS.keys())
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_no_value_in_an_environ_shows_a_header_but_its_own(
    way: Callable[[object], str], environ: WSGIEnvironment
) -> None:
    shown = {key for key, value in environ.items() if "canary" in way(value)}
    assert shown == {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_API_KEY"}
    rest = {key: value for key, value in environ.items() if not key.startswith("HTTP_")}
    assert "canary" not in way(rest)
    assert "canary" not in way([rest])


def test_the_environ_s_scope_is_the_host_s() -> None:
    scope: Any = http_scope(headers=SECRETS)
    environ = build_environ(scope, {})
    environ["asgi.scope"]["new"] = 1
    assert scope["new"] == 1
    assert environ["asgi.scope"]["headers"] is scope["headers"]
    assert environ["asgi.scope"].scope is scope


def test_it_shows_the_methods_of_a_dict_and_no_more() -> None:
    assert {"get", "items", "keys", "scope", "update"} <= set(dir(ScopeView(small_scope())))
    with pytest.raises(AttributeError, match="'ScopeView' object has no attribute 'nosuch'"):
        ScopeView(small_scope()).nosuch  # noqa: B018  # to look it up is the test
