"""`bridge.http.limits`: heads, and why an app must not see them."""

from typing import Any

import pytest

from bridge.http.limits import Limits, check_head, check_unfinished_head, trailers_too_large

HOST = (b"host", b"example.org")
LIMITS = Limits(request_line=100, header_count=5, header_size=60, head_size=150, body_size=1000)


def status_of(**changes: Any) -> int | None:
    head: dict[str, Any] = {"method": b"GET", "target": b"/", "version": "1.1", "headers": [HOST]}
    refusal = check_head(LIMITS, **(head | changes))
    return None if refusal is None else refusal.status


HOSTS = {
    # RFC 9112, 3.2: exactly one, and one that could be a host.
    b"example.org": None,
    b"example.org:8000": None,
    b"example.org:": None,
    b"127.0.0.1": None,
    b"[::1]:8000": None,
    b"xn--bcher-kva.example": None,
    b"under_score.example": None,
    b"": None,
    b"example.org/path": 400,
    b"user@example.org": 400,
    b"example.org, evil.example": 400,
    b"exa mple.org": 400,
    b"example.org:80:80": 400,
    b"example.org:port": 400,
    b"::1": 400,
    b"[::1": 400,
    b"ex\xe4mple.org": 400,
    b'"example.org"': 400,
    b"example.org?": 400,
    b"example.org#": 400,
    b"exam\\ple.org": 400,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_hosts(host: bytes, status: int | None) -> None:
    assert status_of(headers=[(b"host", host)]) == status


FULL = [HOST, (b"a", b"x" * 55), (b"b", b"x" * 55)]

HEADS: dict[str, tuple[dict[str, Any], int | None]] = {
    "HTTP/1.1 without a Host": ({"headers": []}, 400),
    "HTTP/1.0 without a Host": ({"headers": [], "version": "1.0"}, None),
    "two Hosts": ({"headers": [HOST, HOST]}, 400),
    "two Hosts in HTTP/1.0": ({"headers": [HOST, HOST], "version": "1.0"}, 400),
    "Transfer-Encoding: chunked": ({"headers": [HOST, (b"transfer-encoding", b"chunked")]}, None),
    "in capitals": ({"headers": [HOST, (b"transfer-encoding", b" Chunked ")]}, None),
    "in HTTP/1.0": ({"headers": [(b"transfer-encoding", b"chunked")], "version": "1.0"}, 400),
    "gzip, chunked": ({"headers": [HOST, (b"transfer-encoding", b"gzip, chunked")]}, 501),
    "identity": ({"headers": [HOST, (b"transfer-encoding", b"identity")]}, 400),
    # The limits themselves are allowed: 4 + 1 + 12 bytes of the line are not the target's.
    "a request line as long as it may be": ({"target": b"/" + b"x" * 84}, None),
    "one byte longer": ({"target": b"/" + b"x" * 85}, 414),
    "a long method": ({"method": b"X" * 100}, 414),
    "as many fields as there may be": ({"headers": [HOST, *[(b"a", b"b")] * 4]}, None),
    "one more": ({"headers": [HOST, *[(b"a", b"b")] * 5]}, 431),
    "a field as large as it may be": ({"headers": [HOST, (b"a", b"x" * 55)]}, None),
    "one byte larger": ({"headers": [HOST, (b"a", b"x" * 56)]}, 431),
    "a large name": ({"headers": [HOST, (b"x" * 57, b"")]}, 431),
    # Of 150 bytes, Host takes 19, and each of the others 5 besides its value.
    "as much in all as there may be": (
        {"headers": [HOST, (b"a", b"x" * 55), (b"b", b"x" * 55), (b"c", b"x" * 6)]},
        None,
    ),
    "one byte more in all": (
        {"headers": [HOST, (b"a", b"x" * 55), (b"b", b"x" * 55), (b"c", b"x" * 7)]},
        431,
    ),
    "a body as large as it may be": ({"headers": [HOST, (b"content-length", b"1000")]}, None),
    "one byte more": ({"headers": [HOST, (b"content-length", b"1001")]}, 413),
}


@pytest.mark.parametrize(("changes", "status"), HEADS.values(), ids=HEADS)
def test_heads(changes: dict[str, Any], status: int | None) -> None:
    assert status_of(**changes) == status


def test_a_body_of_any_size_unless_it_is_limited() -> None:
    headers = [HOST, (b"content-length", b"9" * 18)]
    assert check_head(Limits(), method=b"PUT", target=b"/", version="1.1", headers=headers) is None


UNFINISHED = {
    # (bytes of the target, bytes in all)
    (10, 20): None,
    (100, 250): None,
    (101, 110): 414,
    (10, 251): 431,
}


@pytest.mark.parametrize(("sizes", "status"), UNFINISHED.items())
def test_heads_of_which_more_is_to_come(sizes: tuple[int, int], status: int | None) -> None:
    refusal = check_unfinished_head(LIMITS, target_size=sizes[0], size=sizes[1])
    assert (None if refusal is None else refusal.status) == status


def test_a_reason_says_the_limit_and_nothing_of_the_clients() -> None:
    refusal = check_head(LIMITS, method=b"GET", target=b"/secret" * 50, version="1.1", headers=[HOST])
    assert refusal is not None
    assert "100 bytes" in refusal.reason
    assert "secret" not in refusal.reason


def test_trailers_that_are_too_large() -> None:
    refusal = trailers_too_large(LIMITS)
    assert (refusal.status, "150 bytes" in refusal.reason) == (431, True)
