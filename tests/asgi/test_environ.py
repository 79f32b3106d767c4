"""Scope → environ: one table for paths, one for headers, one for the rest, and what holds for all of them."""

import gc
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Any, Protocol, cast
from urllib.parse import quote_from_bytes
from wsgiref.validate import validator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import __version__
from bridge.asgi.environ import build_environ
from bridge.asgi.scope_view import ScopeView
from bridge.core.body import RequestBody
from bridge.core.files import FileWrapper
from bridge.types import HTTPScope, StartResponse, WebSocketScope, WSGIEnvironment, WWWScope
from tests.core.links import ListLink, http_scope


class Closable(Protocol):
    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


NO_STATE: Mapping[str, Any] = MappingProxyType({})


def environ_of(scope: WWWScope, state: Mapping[str, Any] = NO_STATE) -> WSGIEnvironment:
    return build_environ(scope, state)


def without(scope: HTTPScope, *keys: str) -> HTTPScope:
    return cast(HTTPScope, {key: value for key, value in scope.items() if key not in keys})


def websocket_scope(**changes: Any) -> WebSocketScope:
    scope = without(http_scope(b"/chat"), "method")
    return cast(WebSocketScope, {**scope, "type": "websocket", "scheme": "ws", "subprotocols": [], **changes})


def with_headers(*headers: tuple[bytes, bytes]) -> HTTPScope:
    return http_scope(headers=list(headers))


def test_whole_environ() -> None:
    """Every key, once: nothing is missing (PEP 3333, "environ Variables"), and nothing else is there.

    But for `wsgi.input`, which the call sets.
    """
    scope = http_scope(
        b"/app/caf%C3%A9?q=1",
        root_path="/app",
        headers=[(b"host", b"example.org"), (b"content-type", b"text/plain"), (b"content-length", b"0")],
        state={"pool": 1},
    )
    environ = build_environ(scope, NO_STATE)
    assert type(environ) is dict  # "must be a builtin Python dictionary (not a subclass ...)"
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/caf\xc3\xa9",
        "QUERY_STRING": "q=1",
        "REQUEST_URI": "/app/caf%C3%A9?q=1",
        "RAW_URI": "/app/caf%C3%A9?q=1",
        "SERVER_SOFTWARE": f"bridge/{__version__}",
        "SERVER_NAME": "203.0.113.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "example.org",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "asgi.scope": scope,
        "asgi.state": {"pool": 1},
    }


def test_view_of_the_scope_is_the_one_that_the_app_gets() -> None:
    """What it sets there is seen by whoever has the scope."""
    view = ScopeView(http_scope())
    assert build_environ(view, NO_STATE)["asgi.scope"] is view


@pytest.mark.parametrize(
    ("headers", "terminated"),
    [
        ([], True),
        ([(b"content-length", b"3")], False),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"3")], True),  # RFC 9112, 6.3: the former
    ],
    ids=["neither", "a length", "chunked", "both"],
)
def test_the_body_says_it_has_an_end_where_no_length_does(
    headers: list[tuple[bytes, bytes]], terminated: bool
) -> None:
    environ = environ_of(http_scope(headers=headers))
    assert environ.get("wsgi.input_terminated", False) is terminated


# PEP 3333, "environ Variables" and "URL Reconstruction"; the ASGI spec on `path`, `raw_path`, `root_path`;
# RFC 9112, 3.2, on the forms of a request target.
PATHS: list[tuple[str, HTTPScope, str, str]] = [
    # id, scope, SCRIPT_NAME, PATH_INFO
    ("plain", http_scope(b"/a/b"), "", "/a/b"),
    ("root", http_scope(b"/"), "", "/"),
    ("%ff in the path stays a byte", http_scope(b"/%ff"), "", "/\xff"),
    ("%ff under a mount", http_scope(b"/app/%ff", root_path="/app"), "/app", "/\xff"),
    ("UTF-8 in the path", http_scope(b"/caf%C3%A9"), "", "/caf\xc3\xa9"),
    ("UTF-8 without raw_path", http_scope(path="/café", raw_path=None), "", "/caf\xc3\xa9"),
    ("bytes above 127 sent raw", http_scope(path="/\ufffd", raw_path=b"/\xff"), "", "/\xff"),
    ("UTF-8 sent raw", http_scope(path="/é", raw_path=b"/\xc3\xa9"), "", "/\xc3\xa9"),
    ("surrogates from the host", http_scope(path="/\udcff", raw_path=b"/%ff"), "", "/\xff"),
    ("encoded percent sign", http_scope(b"/100%25"), "", "/100%"),
    ("lone percent sign", http_scope(b"/100%"), "", "/100%"),
    ("encoded slash, decoded by the host", http_scope(b"/a%2Fb"), "", "/a/b"),
    ("encoded slash, kept by the host", http_scope(path="/a%2Fb", raw_path=b"/a%2Fb"), "", "/a%2Fb"),
    ("encoded question mark", http_scope(b"/a%3Fb"), "", "/a?b"),
    ("encoded number sign", http_scope(b"/a%23b"), "", "/a#b"),
    ("fragment", http_scope(b"/a#b"), "", "/a"),
    ("fragment of which the host rid only the path", http_scope(path="/a", raw_path=b"/a#b"), "", "/a"),
    ("query left in raw_path", http_scope(path="/ a", raw_path=b"/%20a?q=%20"), "", "/ a"),
    ("path rewritten by middleware", http_scope(path="/new", raw_path=b"/%6Fld"), "", "/new"),
    ("two slashes are a path, not a host", http_scope(b"//a/b"), "", "//a/b"),
    ("absolute form", http_scope(b"http://example.org/a%20b"), "", "/a b"),
    ("absolute form with bytes", http_scope(b"http://example.org/%ff"), "", "/\xff"),
    ("absolute form without a path", http_scope(b"http://example.org"), "", "/"),
    (
        "absolute form under a mount",
        http_scope(b"http://example.org/app/a", root_path="/app"),
        "/app",
        "/a",
    ),
    ("asterisk form", http_scope(b"*", method="OPTIONS"), "", "*"),
    ("asterisk form under a mount", http_scope(b"*", method="OPTIONS", root_path="/app"), "/app", "*"),
    ("authority form", http_scope(b"example.org:443", method="CONNECT"), "", ""),
    ("no slash in front", http_scope(b"a/b"), "", "/a/b"),
    ("empty", http_scope(b""), "", ""),
    ("no path at all", without(http_scope(), "path", "raw_path"), "", ""),
    ("no root_path at all", without(http_scope(b"/a"), "root_path"), "", "/a"),
    ("under a mount at /app", http_scope(b"/app/a", root_path="/app"), "/app", "/a"),
    ("the mount itself", http_scope(b"/app", root_path="/app"), "/app", ""),
    ("the mount itself, with a slash", http_scope(b"/app/", root_path="/app"), "/app", "/"),
    (
        "/application under a mount at /app",
        http_scope(b"/application", root_path="/app"),
        "/app",
        "/application",
    ),
    ("mount within a mount", http_scope(b"/a/b/c", root_path="/a/b"), "/a/b", "/c"),
    ("root_path with a trailing slash", http_scope(b"/app/a", root_path="/app/"), "/app", "/a"),
    ("root_path with two trailing slashes", http_scope(b"/app/a", root_path="/app//"), "/app", "/a"),
    ("root_path that is a slash", http_scope(b"/a", root_path="/"), "", "/a"),
    ("root_path without its slash", http_scope(b"/app/a", root_path="app"), "/app", "/a"),
    ("root_path of non-ASCII letters", http_scope(b"/%C3%A9/a", root_path="/é"), "/\xc3\xa9", "/a"),
    ("prefix stripped by the host", http_scope(b"/a", root_path="/app"), "/app", "/a"),
    (
        "prefix stripped from path alone",
        http_scope(path="/a b", raw_path=b"/app/a%20b", root_path="/app"),
        "/app",
        "/a b",
    ),
    ("prefix in another case", http_scope(b"/APP/a", root_path="/app"), "/app", "/APP/a"),
]


@pytest.mark.parametrize(
    ("scope", "script_name", "path_info"), [pytest.param(*case, id=name) for name, *case in PATHS]
)
def test_path(scope: HTTPScope, script_name: str, path_info: str) -> None:
    environ = environ_of(scope)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


@given(st.binary())
@settings(deadline=None)
def test_path_is_bytes_exact(tail: bytes) -> None:
    """What the client sent, percent-decoded, is what the app gets: all 256 bytes of it."""
    sent = b"/" + tail
    environ = environ_of(http_scope(quote_from_bytes(sent).encode()))
    assert environ["PATH_INFO"].encode("latin-1") == sent


@given(st.text("/aé"), st.text("/aé"))
@settings(deadline=None)
def test_mount_splits_the_path_without_loss(prefix: str, rest: str) -> None:
    """SCRIPT_NAME + PATH_INFO is the path again, so that a URL can be built of them (PEP 3333)."""
    root_path = f"/{prefix}".rstrip("/")
    path = f"{root_path}/{rest}"
    environ = environ_of(http_scope(path=path, raw_path=None, root_path=root_path))
    assert environ["SCRIPT_NAME"] == root_path.encode().decode("latin-1")
    assert environ["SCRIPT_NAME"] + environ["PATH_INFO"] == path.encode().decode("latin-1")


# The ASGI spec lists headers as pairs of bytes; RFC 3875, 4.1.18, has them become HTTP_ variables.
HEADERS: list[tuple[str, list[tuple[bytes, bytes]], dict[str, str | None]]] = [
    # id, headers, what the environ has; None for a key that must not be there
    ("ordinary", [(b"accept", b"*/*")], {"HTTP_ACCEPT": "*/*"}),
    ("name with hyphens", [(b"x-forwarded-for", b"::1")], {"HTTP_X_FORWARDED_FOR": "::1"}),
    ("name in upper case", [(b"X-User", b"a")], {"HTTP_X_USER": "a"}),
    ("x_user merges into X-User", [(b"x-user", b"a"), (b"x_user", b"b")], {"HTTP_X_USER": "a"}),
    ("x_user before X-User", [(b"x_user", b"b"), (b"x-user", b"a")], {"HTTP_X_USER": "a"}),
    ("x_user alone", [(b"x_user", b"b")], {"HTTP_X_USER": None, "HTTP_X-USER": None}),
    # httpoxy, CVE-2016-5385
    ("Proxy becomes HTTP_PROXY", [(b"proxy", b"http://evil")], {"HTTP_PROXY": None}),
    ("Proxy in upper case", [(b"PROXY", b"http://evil")], {"HTTP_PROXY": None}),
    (
        "Proxy-Connection is another header",
        [(b"proxy-connection", b"close")],
        {"HTTP_PROXY": None, "HTTP_PROXY_CONNECTION": "close"},
    ),
    # RFC 6265, 5.4; RFC 9113, 8.2.3: HTTP/2 splits cookies, and "; " puts them together again
    ("two Cookie headers", [(b"cookie", b"a=1"), (b"cookie", b"b=2")], {"HTTP_COOKIE": "a=1; b=2"}),
    # RFC 9110, 5.3
    ("two headers of one name", [(b"accept", b"a"), (b"accept", b"b")], {"HTTP_ACCEPT": "a,b"}),
    (
        "three headers of one name, in their order",
        [(b"via", b"1"), (b"accept", b"x"), (b"via", b"2"), (b"via", b"3")],
        {"HTTP_VIA": "1,2,3", "HTTP_ACCEPT": "x"},
    ),
    ("repeated header that is empty", [(b"via", b""), (b"via", b"")], {"HTTP_VIA": ","}),
    # PEP 3333, "environ Variables"
    (
        "content-type and content-length",
        [(b"content-type", b"text/plain"), (b"content-length", b"5")],
        {
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": "5",
            "HTTP_CONTENT_TYPE": None,
            "HTTP_CONTENT_LENGTH": None,
        },
    ),
    (
        "content_type and content_length",
        [(b"content_type", b"text/plain"), (b"content_length", b"5")],
        {
            "CONTENT_TYPE": None,
            "CONTENT_LENGTH": None,
            "HTTP_CONTENT_TYPE": None,
            "HTTP_CONTENT_LENGTH": None,
        },
    ),
    # RFC 9110, 8.6: equal ones may be taken for one, others must not be read as either
    (
        "equal lengths twice",
        [(b"content-length", b"5"), (b"content-length", b"5")],
        {"CONTENT_LENGTH": "5"},
    ),
    (
        "different lengths",
        [(b"content-length", b"5"), (b"content-length", b"6")],
        {"CONTENT_LENGTH": "5,6"},
    ),
    (
        "no header sets a key that is not HTTP_",
        [(b"path-info", b"/evil"), (b"script-name", b"/evil"), (b"remote-addr", b"evil")],
        {"PATH_INFO": "/", "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1", "HTTP_PATH_INFO": "/evil"},
    ),
    ("no header sets a wsgi. key", [(b"wsgi.url-scheme", b"https")], {"wsgi.url_scheme": "http"}),
    ("non-ASCII value", [(b"x-name", b"caf\xc3\xa9 \xff")], {"HTTP_X_NAME": "caf\xc3\xa9 \xff"}),
    ("non-ASCII name", [(b"x-\xe9", b"a")], {"HTTP_X_\xe9": "a"}),
    ("empty value", [(b"x-empty", b"")], {"HTTP_X_EMPTY": ""}),
    ("name too long to be remembered", [(b"x" * 65, b"a")], {"HTTP_" + "X" * 65: "a"}),
    ("chunked body", [(b"transfer-encoding", b"chunked")], {"HTTP_TRANSFER_ENCODING": "chunked"}),
    ("none", [], {"CONTENT_TYPE": None, "CONTENT_LENGTH": None, "HTTP_HOST": None}),
]


@pytest.mark.parametrize(("headers", "expected"), [pytest.param(*case, id=name) for name, *case in HEADERS])
# What a name becomes is remembered: the second time must be as the first.
@pytest.mark.parametrize("times", [1, 2], ids=["first time", "second time"])
def test_headers(headers: list[tuple[bytes, bytes]], expected: dict[str, str | None], times: int) -> None:
    for _ in range(times):
        environ = environ_of(with_headers(*headers))
    assert {key: environ.get(key) for key in expected} == expected


def test_headers_may_be_any_iterable() -> None:
    """The ASGI spec asks for an iterable, not for a list."""
    headers: Iterable[tuple[bytes, bytes]] = iter([(b"a", b"1"), (b"b", b"2")])
    environ = environ_of(http_scope(headers=headers))
    assert (environ["HTTP_A"], environ["HTTP_B"]) == ("1", "2")


@pytest.mark.parametrize("name", [b"x-many", b"cookie", b"content-length"])
def test_32000_headers_cost_no_seconds(name: bytes) -> None:
    """Linear, not quadratic: 10 ms here, and several seconds where each value is added to those before."""
    scope = with_headers(*[(name, b"%064d" % number) for number in range(32_000)])
    start = time.process_time()
    environ_of(scope)
    assert time.process_time() - start < 1


def test_names_that_clients_make_up_take_no_memory() -> None:
    """The memory of header names is bounded, or a client could fill the process with it."""
    environ_of(with_headers(*[(b"x-fill-%d" % number, b"") for number in range(1_500)]))
    gc.collect()
    tracemalloc.start()
    try:
        environ_of(with_headers(*[(b"x-more-%d" % number, b"") for number in range(4_000)]))
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000


# PEP 3333, "environ Variables"; RFC 3875, 4.1, for the CGI keys; the ASGI spec for what a host may leave out.
OTHER_KEYS: list[tuple[str, WWWScope, dict[str, str | None]]] = [
    # id, scope, what the environ has; None for a key that must not be there
    ("method", http_scope(method="PATCH"), {"REQUEST_METHOD": "PATCH"}),
    ("HTTP/1.0", http_scope(http_version="1.0"), {"SERVER_PROTOCOL": "HTTP/1.0"}),
    ("HTTP/2", http_scope(http_version="2"), {"SERVER_PROTOCOL": "HTTP/2"}),
    ("no HTTP version", without(http_scope(), "http_version"), {"SERVER_PROTOCOL": "HTTP/1.1"}),
    ("no scheme", without(http_scope(), "scheme"), {"wsgi.url_scheme": "http"}),
    ("https", http_scope(scheme="https"), {"wsgi.url_scheme": "https"}),
    (
        "non-ASCII query string",
        http_scope(query_string=b"q=caf\xc3\xa9\xff"),
        {"QUERY_STRING": "q=caf\xc3\xa9\xff"},
    ),
    ("percent-encoded query stays so", http_scope(b"/?q=%C3%A9"), {"QUERY_STRING": "q=%C3%A9"}),
    ("query with a question mark", http_scope(b"/?a=b?c"), {"QUERY_STRING": "a=b?c"}),
    ("no query", http_scope(b"/"), {"QUERY_STRING": ""}),
    ("no query string at all", without(http_scope(), "query_string"), {"QUERY_STRING": ""}),
    (
        "SERVER_PORT is a str",
        http_scope(server=("a.example", 81)),
        {"SERVER_NAME": "a.example", "SERVER_PORT": "81"},
    ),
    ("port a str already, as granian has it", http_scope(server=("a.example", "81")), {"SERVER_PORT": "81"}),
    # "SERVER_NAME and SERVER_PORT can never be empty strings"
    ("unix socket", http_scope(server=("/run/s", None)), {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}),
    (
        "unix socket, https",
        http_scope(server=("/run/s", None), scheme="https"),
        {"SERVER_NAME": "localhost", "SERVER_PORT": "443"},
    ),
    ("server is None", http_scope(server=None), {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}),
    ("server is missing", without(http_scope(), "server"), {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}),
    ("server without a name", http_scope(server=("", 8000)), {"SERVER_NAME": "localhost"}),
    (
        "no server, scheme nobody knows",
        http_scope(server=None, scheme="gopher"),
        {"SERVER_PORT": "80", "wsgi.url_scheme": "gopher"},
    ),
    ("client", http_scope(client=("::1", 5)), {"REMOTE_ADDR": "::1", "REMOTE_PORT": "5"}),
    ("client without a port", http_scope(client=("::1", None)), {"REMOTE_ADDR": "::1", "REMOTE_PORT": None}),
    ("client is None", http_scope(client=None), {"REMOTE_ADDR": None, "REMOTE_PORT": None}),
    ("client is missing", without(http_scope(), "client"), {"REMOTE_ADDR": None, "REMOTE_PORT": None}),
    ("client of a unix socket", http_scope(client=("", 0)), {"REMOTE_ADDR": None, "REMOTE_PORT": None}),
    ("request URI", http_scope(b"/a%20b?c=d"), {"REQUEST_URI": "/a%20b?c=d", "RAW_URI": "/a%20b?c=d"}),
    ("request URI without a query", http_scope(b"/a"), {"REQUEST_URI": "/a", "RAW_URI": "/a"}),
    (
        "request URI of non-ASCII bytes",
        http_scope(path="/\ufffd", raw_path=b"/\xff"),
        {"REQUEST_URI": "/\xff"},
    ),
    (
        "request URI with the query left in raw_path",
        http_scope(raw_path=b"/a?c=d", query_string=b"c=d"),
        {"REQUEST_URI": "/a?c=d", "RAW_URI": "/a?c=d"},
    ),
    ("request URI unknown", http_scope(raw_path=None), {"REQUEST_URI": None, "RAW_URI": None}),
    # RFC 6455, 4.1: a websocket begins as a GET of http or https
    (
        "websocket",
        websocket_scope(),
        {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", "PATH_INFO": "/chat"},
    ),
    (
        "websocket, secure",
        websocket_scope(scheme="wss", server=None),
        {"wsgi.url_scheme": "https", "SERVER_PORT": "443"},
    ),
]


@pytest.mark.parametrize(("scope", "expected"), [pytest.param(*case, id=name) for name, *case in OTHER_KEYS])
def test_other_keys(scope: WWWScope, expected: dict[str, str | None]) -> None:
    environ = environ_of(scope)
    assert {key: environ.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("of_host", "of_app", "expected"),
    [
        pytest.param(None, {}, {}, id="none"),
        pytest.param({"a": 1}, {}, {"a": 1}, id="of the host"),
        pytest.param(None, {"b": 2}, {"b": 2}, id="of the app"),
        pytest.param({"a": 1, "b": 1}, {"b": 2}, {"a": 1, "b": 2}, id="of the app over that of the host"),
        pytest.param({}, {"b": 2}, {"b": 2}, id="empty of the host"),
    ],
)
def test_state(of_host: dict[str, Any] | None, of_app: dict[str, Any], expected: dict[str, Any]) -> None:
    """ASGI spec, "Lifespan State": what the lifespan made, and what the host passes on of it."""
    scope = http_scope() if of_host is None else http_scope(state=of_host)
    assert environ_of(scope, of_app)["asgi.state"] == expected


MULTIPROCESS = [
    # (what is known, the state of the host, the state of the app, wsgi.multiprocess)
    ("nobody says", None, {}, True),
    ("nobody says, with state", {"a": 1}, {"b": 1}, True),
    ("one process, by the host", {"bridge.multiprocess": False}, {}, False),
    ("several, by the host", {"bridge.multiprocess": True}, {}, True),
    ("one process, by the app", None, {"bridge.multiprocess": False}, False),
    ("the app knows better", {"bridge.multiprocess": True}, {"bridge.multiprocess": False}, False),
    ("not a bool", {"bridge.multiprocess": 0}, {}, False),
]


@pytest.mark.parametrize(
    ("of_host", "of_app", "expected"), [row[1:] for row in MULTIPROCESS], ids=[row[0] for row in MULTIPROCESS]
)
def test_multiprocess_is_true_unless_somebody_knows_better(
    of_host: dict[str, Any] | None, of_app: dict[str, Any], expected: bool
) -> None:
    """PEP 3333, "environ Variables"; true promises less."""
    scope = http_scope() if of_host is None else http_scope(state=of_host)
    assert environ_of(scope, of_app)["wsgi.multiprocess"] is expected


def test_state_of_one_request_is_not_that_of_the_next() -> None:
    """The ASGI spec has every request get a shallow copy."""
    state = {"a": 1}
    environ_of(http_scope(), state)["asgi.state"]["a"] = 2
    environ_of(http_scope())["asgi.state"]["b"] = 2
    assert state == {"a": 1}
    assert environ_of(http_scope())["asgi.state"] == {}


def test_environ_is_the_app_s_to_change() -> None:
    """PEP 3333: "the application is allowed to modify the dictionary in any way it desires"."""
    scope = http_scope()
    first = environ_of(scope)
    first["wsgi.run_once"] = "changed"
    first.clear()
    assert environ_of(scope)["wsgi.run_once"] is False


def test_process_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for SCRIPT_NAME, nor for anything else, as it is with CGI and wsgiref."""
    before = environ_of(http_scope())
    for name in ("SCRIPT_NAME", "HTTP_PROXY", "SERVER_NAME", "REMOTE_USER", "HTTPS"):
        monkeypatch.setenv(name, "/evil")
    after = environ_of(http_scope())
    assert before.keys() == after.keys()
    assert "/evil" not in after.values()


def test_errors_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """PEP 3333, "Input and Error Streams": `wsgi.errors` takes str."""
    environ_of(http_scope())["wsgi.errors"].write("a line for the log\n")
    assert capsys.readouterr().err == "a line for the log\n"


def no_content(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


# The validator knows neither other schemes nor the method CONNECT nor the target `*`.
@pytest.mark.parametrize(
    "scope",
    [
        pytest.param(scope, id=name)
        for name, scope, *_ in PATHS
        if scope.get("method") not in ("CONNECT", "OPTIONS")
    ]
    + [pytest.param(scope, id=name) for name, scope, _ in OTHER_KEYS if scope.get("scheme") != "gopher"],
)
def test_validator_finds_nothing(scope: WWWScope) -> None:
    """`wsgiref.validate`, the standard library's reading of PEP 3333. Its warnings are errors here."""
    check = validator(no_content)
    environ = {**environ_of(scope), "wsgi.input": RequestBody(ListLink().read)}
    with closing(cast(Closable, check(environ, lambda *_: lambda _: None))) as chunks:
        assert list(chunks) == []
