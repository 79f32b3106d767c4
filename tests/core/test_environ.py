"""What every host's environ is made of; the tests of the ASGI host's have longer tables, through a scope."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, cast
from wsgiref.validate import validator

import pytest

from bridge import __version__
from bridge.core.call import Call
from bridge.core.environ import CONSTANTS, latin1, set_addresses, set_headers, split_path
from bridge.core.files import FileWrapper
from bridge.types import StartResponse, WSGIEnvironment
from tests.core.links import ListLink, Reply, wsgi_environ


def test_constants() -> None:
    """A key more or less is one for every app on every host."""
    expected = {
        "SERVER_SOFTWARE": f"bridge/{__version__}",
        "wsgi.version": (1, 0),
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    assert expected == CONSTANTS


def test_environ_of_these_parts_is_one_by_pep_3333(capsys: pytest.CaptureFixture[str]) -> None:
    """`wsgiref.validate` finds every key that it asks for, with `wsgi.input` from the call."""

    @validator
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read(-1)]

    headers = [(b"host", b"example.org"), (b"content-length", b"4"), (b"content-type", b"text/plain")]
    environ = wsgi_environ(b"/app/a%20b?c=d", method="POST", root_path="/app", headers=headers)
    assert type(environ) is dict
    link = ListLink([b"body"])
    Call(app, environ).run(link)
    assert Reply.of(link.parts).body == b"body"
    assert capsys.readouterr() == ("", "")


# PEP 3333, "environ Variables", RFC 9112, 3.2
PATHS: list[tuple[str, str, str, tuple[str, str]]] = [
    # id, the path in latin-1, root_path, SCRIPT_NAME and PATH_INFO
    ("no mount", "/a/b", "", ("", "/a/b")),
    ("mount that is a slash", "/a", "/", ("", "/a")),
    ("below the mount", "/app/a", "/app", ("/app", "/a")),
    ("the mount itself", "/app", "/app", ("/app", "")),
    ("the mount with a slash", "/app/", "/app", ("/app", "/")),
    ("beside the mount", "/application", "/app", ("/app", "/application")),
    ("mount with slashes behind", "/app/a", "/app//", ("/app", "/a")),
    ("mount without its slash", "/app/a", "app", ("/app", "/a")),
    ("mount beyond ASCII, decoded", "/\xc3\xa9/a", "/\xe9", ("/\xc3\xa9", "/a")),
    ("bytes that are no UTF-8", "/app/\xff", "/app", ("/app", "/\xff")),
    ("absolute form", "http://example.org/app/a", "/app", ("/app", "/a")),
    ("absolute form without a path", "http://example.org", "", ("", "/")),
    ("authority form", "example.org:443", "", ("", "")),
    ("asterisk form", "*", "", ("", "*")),
    ("no slash in front", "a", "", ("", "/a")),
    ("nothing", "", "/app", ("/app", "")),
]


@pytest.mark.parametrize(
    ("path", "root_path", "expected"), [pytest.param(*case, id=name) for name, *case in PATHS]
)
def test_split_path(path: str, root_path: str, expected: tuple[str, str]) -> None:
    assert split_path(path, root_path) == expected


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("/a", "/a"), ("\xe9", "\xc3\xa9"), ("\u2713", "\xe2\x9c\x93"), ("\udcff", "\xff"), ("", "")],
)
def test_latin1(text: str, encoded: str) -> None:
    assert latin1(text) == encoded


# RFC 3875, 4.1.14 and 4.1.15: neither may be empty
SERVERS: list[tuple[str, Any, str, tuple[str, str]]] = [
    # id, server, scheme, SERVER_NAME and SERVER_PORT
    ("host and port", ("a.example", 81), "http", ("a.example", "81")),
    ("a list, as some hosts have it", ["a.example", 81], "http", ("a.example", "81")),
    ("a port of 0", ("a.example", 0), "http", ("a.example", "0")),
    ("a unix socket", ("/run/s", None), "http", ("localhost", "80")),
    ("a unix socket, https", ("/run/s", None), "https", ("localhost", "443")),
    ("no name", ("", 81), "http", ("localhost", "80")),
    ("unknown", None, "https", ("localhost", "443")),
    ("unknown, another scheme", None, "gopher", ("localhost", "80")),
]


@pytest.mark.parametrize(
    ("server", "scheme", "expected"), [pytest.param(*case, id=name) for name, *case in SERVERS]
)
def test_server(server: Any, scheme: str, expected: tuple[str, str]) -> None:
    environ: WSGIEnvironment = {}
    set_addresses(environ, scheme, server, None)
    assert environ == dict(zip(("SERVER_NAME", "SERVER_PORT"), expected, strict=True))


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("192.0.2.1", 5), {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "5"}),
        (("192.0.2.1", None), {"REMOTE_ADDR": "192.0.2.1"}),
        (("", 0), {}),
        ((None, None), {}),
        ((), {}),
        (None, {}),
    ],
)
def test_client(client: Any, expected: dict[str, str]) -> None:
    environ: WSGIEnvironment = {}
    set_addresses(environ, "http", ("a.example", 80), client)
    assert {key: value for key, value in environ.items() if key.startswith("REMOTE")} == expected


# RFC 3875, 4.1.18; RFC 9110, 5.3 and 8.6; RFC 6265, 5.4
HEADERS: list[tuple[str, list[tuple[bytes, bytes]], dict[str, Any]]] = [
    # id, header fields, the environ
    ("none", [], {"wsgi.input_terminated": True}),
    ("a length", [(b"Content-Length", b"3")], {"CONTENT_LENGTH": "3"}),
    (
        "chunked",
        [(b"transfer-encoding", b"chunked")],
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ),
    (
        "names in any case",
        [(b"X-User", b"a"), (b"content-TYPE", b"b"), (b"content-length", b"0")],
        {"HTTP_X_USER": "a", "CONTENT_TYPE": "b", "CONTENT_LENGTH": "0"},
    ),
    (
        "dropped",
        [(b"x_user", b"a"), (b"Proxy", b"b"), (b"content_length", b"9"), (b"content-length", b"0")],
        {"CONTENT_LENGTH": "0"},
    ),
    (
        "repeated",
        [(b"via", b"1"), (b"cookie", b"a=1"), (b"Via", b"2"), (b"cookie", b"b=2"), (b"via", b"3")],
        {"HTTP_VIA": "1,2,3", "HTTP_COOKIE": "a=1; b=2", "wsgi.input_terminated": True},
    ),
    ("equal lengths", [(b"content-length", b"3"), (b"content-length", b"3")], {"CONTENT_LENGTH": "3"}),
    ("other lengths", [(b"content-length", b"3"), (b"content-length", b"4")], {"CONTENT_LENGTH": "3,4"}),
    (
        "any bytes",
        [(b"content-type", b"\xc3\xff"), (b"content-length", b"0")],
        {"CONTENT_TYPE": "\xc3\xff", "CONTENT_LENGTH": "0"},
    ),
]


@pytest.mark.parametrize(("headers", "expected"), [pytest.param(*case, id=name) for name, *case in HEADERS])
@pytest.mark.parametrize("as_iterable", [list, iter])
def test_set_headers(headers: list[tuple[bytes, bytes]], expected: dict[str, Any], as_iterable: Any) -> None:
    environ: WSGIEnvironment = {}
    set_headers(environ, cast(Iterator[tuple[bytes, bytes]], as_iterable(headers)))
    assert environ == expected


def test_headers_leave_the_other_keys() -> None:
    """No header may say where the app is mounted, or who the client is."""
    names = (b"script-name", b"path-info", b"remote-addr", b"request-method", b"wsgi.url-scheme")
    before = wsgi_environ()
    after = wsgi_environ(headers=[(name, b"evil") for name in names])
    assert {key: after[key] for key in before} == before
    assert after["wsgi.errors"] is sys.stderr
