"""Request targets, byte by byte, from the request line to the environ."""

import ast
from collections.abc import Iterable

from bridge import WSGIToASGI
from bridge.types import StartResponse, WSGIEnvironment
from tests.end_to_end.raw import RawClient
from tests.hosts import Host

# target → SCRIPT_NAME, PATH_INFO, QUERY_STRING
TARGETS: dict[bytes, tuple[str, str, str]] = {
    b"/": ("", "/", ""),
    b"/a/b": ("", "/a/b", ""),
    b"/a//b/": ("", "/a//b/", ""),
    b"//a": ("", "//a", ""),
    b"/a%2Fb": ("", "/a/b", ""),
    b"/a%20b+c": ("", "/a b+c", ""),
    b"/%ff": ("", "/\xff", ""),
    b"/caf%C3%A9": ("", "/caf\xc3\xa9", ""),
    b"/caf%E9": ("", "/caf\xe9", ""),
    b"/100%": ("", "/100%", ""),
    b"/%zz": ("", "/%zz", ""),
    b"/?": ("", "/", ""),
    b"/?a=1&b=%C3%A9": ("", "/", "a=1&b=%C3%A9"),
    b"/a?b?c": ("", "/a", "b?c"),
    b"/a%3Fb?c": ("", "/a?b", "c"),
    b"/;v=1/..;/x": ("", "/;v=1/..;/x", ""),
    b"http://testserver/a/b?c": ("", "/a/b", "c"),
    b"http://testserver:8000/caf%C3%A9": ("", "/caf\xc3\xa9", ""),
}


def _seen(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ascii(tuple(environ[key] for key in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING"))).encode()]


def test_targets_arrive_byte_by_byte(host: Host) -> None:
    seen = {}
    with host(WSGIToASGI(_seen)) as server, RawClient(server) as client:
        for target in TARGETS:
            client.get(target)
            seen[target] = ast.literal_eval(client.answer().body.decode())
    assert seen == TARGETS


def test_targets_below_a_root_path(host: Host) -> None:
    """uvicorn puts its root_path in front of the path it got; hypercorn leaves the path as it came."""
    targets = {
        b"/page": ("/app", "/page", ""),
        b"/%ff": ("/app", "/\xff", ""),
        b"/app": ("/app", "/app", ""),
    }
    prefix = b"/app" if host.name == "hypercorn" else b""
    seen = {}
    with host(WSGIToASGI(_seen), root_path="/app") as server, RawClient(server) as client:
        for target in targets:
            client.get(prefix + target)
            seen[target] = ast.literal_eval(client.answer().body.decode())
    assert seen == targets
