"""What may be shown of what a layer holds, and what became of each header."""

import uuid
from decimal import Decimal
from typing import Any

import pytest

from bridge.trace.facts import follow_headers, is_secret, shown


class Loud:
    def __repr__(self) -> str:
        raise AssertionError("an object's repr is not to be asked for")


NUMBER = uuid.UUID(int=7)
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("text", "text"),
        (b"bytes \xff", "bytes ÿ"),
        ("x" * 1000, "x" * 400 + "… 1,000 characters"),
        (b"x" * 12345, "x" * 400 + "… 12,345 bytes"),
        (NUMBER, str(NUMBER)),
        (Decimal("1.20"), "1.20"),
        ({"a": (1, b"2")}, {"a": [1, "2"]}),
        ({1: 2}, {"1": 2}),
        (list(range(201)), [*range(200), "… 1 more"]),
        (Loud(), f"<{Loud.__module__}.Loud>"),
        (Loud, "<type>"),
        (CYCLE, [[[[[["<list>"]]]]]]),
        # secrets
        ([(b"cookie", b"a=b"), (b"accept", b"*/*")], [["cookie", "… 3 bytes"], ["accept", "*/*"]]),
        ({"HTTP_AUTHORIZATION": "Bearer x"}, {"HTTP_AUTHORIZATION": "… 8 characters"}),
        ([("Set-Cookie", "session=x")], [["Set-Cookie", "… 9 characters"]]),
        ("a=1&token=abc&b=2", "a=1&token=… 3 characters&b=2"),
        ("/reset?access_token=abc", "/reset?access_token=… 3 characters"),
        (b"user=me&password=abc", "user=me&password=… 3 characters"),
        ('{"api_key": "abc", "n": "1"}', '{"api_key": "… 3 characters", "n": "1"}'),
        ("a=1&x%5bpass%77ord%5d=abc&b=2", "a=1&x%5bpass%77ord%5d=… 3 characters&b=2"),
        (
            "no connection: host=db password=abc user=me",
            "no connection: host=db password=… 3 characters user=me",
        ),
        ("postgresql://me:word@db:5432/x", "postgresql://me:… 4 characters@db:5432/x"),
        ("http://db:5432/x?y=me@here", "http://db:5432/x?y=me@here"),
        (r'{"password": "a\"bc", "n": 1}', '{"password": "… 5 characters", "n": 1}'),
        ('{"token": 4711, "n": 1}', '{"token": … 4 characters, "n": 1}'),
        ('{"tokens": ["a", "b"], "n": 1}', '{"tokens": … 10 characters, "n": 1}'),
        ('{"tokens": {"a": {}, "b": "c"}, "n": 1}', '{"tokens": … 28 characters'),
        ('{"me": {"password": "abc"}, "n": 1}', '{"me": {"password": "… 3 characters"}, "n": 1}'),
        ('{"a": {"b": [{"password": "abc', '{"a": {"b": [{"password": "… 3 characters"'),
        ("{'password': 'abc', 'n': 1}", "{'password': '… 3 characters', 'n': 1}"),
        (
            '--X\r\nContent-Disposition: form-data; name="pwd"\r\nX: y\r\n\r\na\r\nb\r\n--X--\r\n',
            '--X\r\nContent-Disposition: form-data; name="pwd"\r\nX: y\r\n\r\n… 4 characters\r\n--X--\r\n',
        ),
        (
            '--X\r\nContent-Disposition: form-data; name="user"\r\n\r\nme\r\n--X--\r\n',
            '--X\r\nContent-Disposition: form-data; name="user"\r\n\r\nme\r\n--X--\r\n',
        ),
        (
            {"token": 4711, "tokens": {"a": "b"}, "has_token": True},
            {"token": "…", "tokens": "…", "has_token": True},
        ),
        ({"state": {"database": "postgresql://me:word@db"}}, {"state": {"database": "str"}}),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, Loud) else "object",
)
def test_shown(value: object, expected: object) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("authorization", True),
        ("Proxy-Authorization", True),
        ("cookie", True),
        ("Set-Cookie", True),
        ("X-Api-Key", True),
        ("HTTP_X_API_KEY", True),
        ("X-CSRFToken", True),
        ("SECRET_KEY", True),
        ("accept", False),
        ("host", False),
        ("user-agent", False),
    ],
)
def test_secret_names(name: str, expected: bool) -> None:
    assert is_secret(name) is expected


@pytest.mark.parametrize(
    ("headers", "environ", "expected"),
    [
        ([(b"accept", b"a")], {"HTTP_ACCEPT": "a"}, [("HTTP_ACCEPT", "")]),
        ([(b"content-length", b"3")], {"CONTENT_LENGTH": "3"}, [("CONTENT_LENGTH", "")]),
        ([(b"proxy", b"evil")], {}, [(None, "it would bec")]),
        ([(b"x_user", b"1")], {}, [(None, "underscore: ")]),
        ([(b"odd", b"1")], {}, [(None, "the adapter ")]),
        (
            [(b"x_user", b"evil"), (b"x-user", b"good")],
            {"HTTP_X_USER": "good"},
            [(None, "underscore: "), ("HTTP_X_USER", "")],
        ),
        (
            [(b"x_user", b"evil"), (b"x-user", b"good")],  # as other adapters do
            {"HTTP_X_USER": "evil,good"},
            [("HTTP_X_USER", "")] * 2,
        ),
        (
            [(b"cookie", b"a=1"), (b"cookie", b"b=2")],
            {"HTTP_COOKIE": "a=1; b=2"},
            [("HTTP_COOKIE", "")] * 2,
        ),
        (
            [(b"content-length", b"3"), (b"content-length", b"3")],
            {"CONTENT_LENGTH": "3"},
            [("CONTENT_LENGTH", "")] * 2,
        ),
    ],
)
def test_headers(
    headers: list[tuple[bytes, bytes]],
    environ: dict[str, object],
    expected: list[tuple[str | None, str]],
) -> None:
    fates: list[Any] = follow_headers(headers, environ)
    assert [(each["key"], each["why"][:12]) for each in fates] == expected


def test_why_a_header_was_dropped() -> None:
    headers = [(b"x_user", b"1"), (b"proxy", b"p"), (b"cookie", b"a=1")]
    fates: list[Any] = follow_headers(headers, {"HTTP_COOKIE": "a=1"})
    assert [each["why"] for each in fates[:2]] == [
        "underscore: as HTTP_X_USER it could not be told from x-user",
        "it would become HTTP_PROXY, a variable that HTTP clients obey (httpoxy, CVE-2016-5385)",
    ]
    assert fates[2]["value"] == "… 3 characters"
