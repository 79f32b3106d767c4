"""Environ → scope: one table, the way back of `test_environ.py`, and the round trip of both."""

import io
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.asgi.environ import build_environ
from bridge.asgi.scope import build_scope
from tests.core.links import http_scope


def environ_with(**changes: Any) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return {key: value for key, value in environ.items() if value is not None}


@pytest.mark.parametrize(
    ("environ", "scope"),
    [
        pytest.param({}, {"path": "/", "raw_path": b"/", "root_path": ""}, id="root"),
        pytest.param(
            {"PATH_INFO": "/caf\xc3\xa9"}, {"path": "/café", "raw_path": b"/caf%C3%A9"}, id="UTF-8, quoted"
        ),
        pytest.param(
            {"PATH_INFO": "/caf\xc3\xa9", "REQUEST_URI": "/caf%c3%a9?x=1"},
            {"path": "/café", "raw_path": b"/caf%c3%a9"},
            id="the client's own bytes",
        ),
        pytest.param(
            {"PATH_INFO": "/b", "RAW_URI": "/a"},
            {"path": "/b", "raw_path": b"/b"},
            id="middleware has moved it",
        ),
        pytest.param(
            {"PATH_INFO": "/\xff"}, {"path": "/\ufffd", "raw_path": b"/%FF"}, id="no UTF-8: raw_path has it"
        ),
        pytest.param(
            {"SCRIPT_NAME": "/app", "PATH_INFO": "/x"},
            {"path": "/app/x", "raw_path": b"/app/x", "root_path": "/app"},
            id="path contains root_path",
        ),
        pytest.param(
            {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}, {"path": "/a/b", "raw_path": b"/a%2Fb"}, id="%2F"
        ),
        pytest.param(
            {"PATH_INFO": "/x", "REQUEST_URI": "http://example.org/x"},
            {"raw_path": b"/x"},
            id="absolute target",
        ),
        pytest.param({"PATH_INFO": "*", "REQUEST_METHOD": "OPTIONS"}, {"path": "*"}, id="asterisk"),
        pytest.param({"QUERY_STRING": "a=%20\xe9"}, {"query_string": b"a=%20\xe9"}, id="query"),
        pytest.param({"QUERY_STRING": None}, {"query_string": b""}, id="no query"),
        pytest.param({"REQUEST_METHOD": "get"}, {"method": "GET"}, id="method in capitals"),
        pytest.param({"SERVER_PROTOCOL": "HTTP/1.0"}, {"http_version": "1.0"}, id="HTTP/1.0"),
        pytest.param({"SERVER_PROTOCOL": "HTTP/2.0"}, {"http_version": "2"}, id="HTTP/2"),
        pytest.param({"wsgi__url_scheme": "https"}, {"scheme": "https"}, id="https"),
        pytest.param(
            {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "5"}, {"client": ("192.0.2.1", 5)}, id="client"
        ),
        pytest.param({"REMOTE_ADDR": "192.0.2.1"}, {"client": ("192.0.2.1", 0)}, id="client without a port"),
        pytest.param({"REMOTE_ADDR": ""}, {"client": None}, id="no client, as on a unix socket"),
        pytest.param({}, {"server": ("example.org", 8000)}, id="server"),
        pytest.param({"SERVER_PORT": ""}, {"server": None}, id="unix socket"),
        pytest.param(
            {"HTTP_X_USER": "\xe9", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3", "HTTP_EMPTY": ""},
            {
                "headers": [
                    (b"x-user", b"\xe9"),
                    (b"content-type", b"text/plain"),
                    (b"content-length", b"3"),
                    (b"empty", b""),
                ]
            },
            id="headers",
        ),
        pytest.param(
            {"CONTENT_TYPE": "", "CONTENT_LENGTH": "", "HTTP_CONTENT_TYPE": "x"},
            {"headers": []},
            id="no headers",
        ),
        pytest.param({}, {"extensions": {}}, id="no extensions"),
        pytest.param(
            {"wsgi__file_wrapper": object(), "wsgi__early_hints": print},
            {"extensions": {"http.response.pathsend": {}, "http.response.early_hint": {}}},
            id="extensions",
        ),
    ],
)
def test_scope(environ: dict[str, Any], scope: dict[str, Any]) -> None:
    found = build_scope(environ_with(**environ), {})
    assert {key: found[key] for key in scope} == scope  # type: ignore[literal-required]  # keys from the table


def test_state_is_a_copy_and_the_environ_is_at_hand() -> None:
    state: dict[str, Any] = {"pool": []}
    environ = environ_with(REMOTE_USER="ada")
    scope: Any = build_scope(environ, state)
    assert scope["state"] == state
    assert scope["state"] is not state
    assert scope["state"]["pool"] is state["pool"]
    assert scope["wsgi.environ"] is environ


def test_more_headers_than_are_remembered() -> None:
    """Clients choose the names, so not all of them are kept; each request has its own all the same."""
    for start in range(0, 3000, 100):
        names = [f"HTTP_X_{number}" for number in range(start, start + 100)]
        found = build_scope(environ_with(**dict.fromkeys(names, "1")), {})["headers"]
        assert [name for name, _ in found] == [name[5:].lower().replace("_", "-").encode() for name in names]


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1).filter(
    lambda name: name not in ("proxy", "cookie", "content-length", "content-type")
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))


@given(
    path=st.binary(max_size=20),
    root=st.sampled_from(["", "/app", "/caf%C3%A9"]),
    query=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20),
    headers=st.dictionaries(NAMES, VALUES, max_size=5),
)
def test_scope_to_environ_and_back(path: bytes, root: str, query: str, headers: dict[str, str]) -> None:
    """A request that has come through both equals itself: ASGI → WSGI → ASGI, and WSGI → ASGI → WSGI."""
    target = f"{root}/{quote_from_bytes(path)}?{query}".encode()
    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope: Any = http_scope(target, root_path="/café" if "caf" in root else root, headers=fields)
    environ = build_environ(scope, {})
    found: Any = build_scope(environ, {})
    for key in ("method", "scheme", "path", "raw_path", "query_string", "root_path", "http_version"):
        assert found[key] == scope[key], key
    assert found["headers"] == fields
    assert tuple(found["client"]) == tuple(scope["client"])
    again = build_environ(found, {})
    for key in environ:
        if key not in ("asgi.scope", "asgi.state", "wsgi.input"):
            assert again[key] == environ[key], key
