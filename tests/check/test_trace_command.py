"""`bridge trace`, as it is typed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridge.command import bridge
from tests.server.command import run

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SUBJECT = "tests.trace.subject"


def trace(*arguments: str, **env: str) -> tuple[int, str, str]:
    return run("trace", *arguments, cwd=ROOT, env=env)


def words_of(out: str) -> str:
    """What is printed, without the breaks of lines, and the names of threads."""
    return re.sub(r"\[bridge-\d\] ", "", " ".join(out.split()))


def test_text() -> None:
    code, out, _ = trace(
        f"{SUBJECT}:app", "/async/7", "-H", "X_User: 1", "-H", "Authorization: Bearer abc", "--body"
    )
    assert code == 0
    assert "\x1b" not in out
    assert "abc" not in out
    lines = out.splitlines()
    assert lines[-1] == "7"
    assert lines[-3].startswith("200 OK · text/html; charset=utf-8 · 1 byte · ")
    layers = ["ASGI", "runner", "environ", "WSGI", "Flask", "Werkzeug", "view", "Jinja2"]
    told = [line.split()[1:3] for line in lines if line[:1] == " " or line[:1].isdigit()]
    for layer in layers:
        assert any(layer in words for words in told), layer
    assert any("x_user" in line and "→ dropped  (underscore: " in line for line in lines)
    assert any(line.endswith("authorization → HTTP_AUTHORIZATION") for line in lines)
    assert "on the loop  view 'waits': the view is async" in out
    assert any("before_request  load_user()" in line and "[bridge-" in line for line in lines)
    assert all(len(line) <= 120 for line in lines)


def test_why_an_async_view_runs_in_a_thread_is_said_in_full() -> None:
    _, out, _ = trace("tests.server.apps.inspected:app", "/shop/cart/")
    text = words_of(out)
    assert "in a thread view 'shop.cart.content': teardown function 'close_cart'" in text
    assert "mark it with @bridge.flask.any_thread, or ask for --async-views loop " in text
    assert all(len(line) <= 120 for line in out.splitlines())


def test_why_is_by_the_setting() -> None:
    _, out, _ = trace("tests.server.apps.inspected:app", "/shop/cart/", "--async-views=thread")
    assert "view 'shop.cart.content': async_views is thread" in words_of(out)
    assert "close_cart' (" not in out.split("environ")[0]


def test_json() -> None:
    code, out, _ = trace(f"{SUBJECT}:app", "POST", "/upload", "-d", "a=1", "-d", "b=2", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["outcome"] == "answered"
    scope = record["steps"][0]["facts"]["scope"]
    assert scope["method"] == "POST"
    assert ["content-type", "application/x-www-form-urlencoded"] in scope["headers"]
    assert record["response"]["status"] == 200
    assert {step["layer"] for step in record["steps"]} >= {"ASGI", "WSGI", "Flask", "view"}


def test_colors_are_for_terminals() -> None:
    assert "\x1b[" in trace(f"{SUBJECT}:app", "/page", "--use-colors")[1]


def test_body_of_a_file_and_method(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\xff" * 10)
    code, out, _ = trace(
        f"{SUBJECT}:app", "/upload", "-d", f"@{tmp_path}/body", "-H", "Content-Type: image/png", "--body"
    )
    assert (code, out.splitlines()[-1]) == (0, "10")


@pytest.mark.parametrize(
    ("arguments", "code", "summary"),
    [
        ([f"{SUBJECT}:app", "/breaks"], 0, "500 Internal Server Error · "),
        ([f"{SUBJECT}:app", "/endless", "--timeout", "0.2"], 0, "200 OK · "),
        ([f"{SUBJECT}:app", "/endless", "--timeout", "0.2", "--adapter", "a2wsgi"], 0, "200 OK · "),
        ([f"{SUBJECT}:wsgi_app", "/"], 0, "200 OK · text/plain · 11 bytes"),
        ([f"{SUBJECT}:asgi_app", "/"], 0, "200 OK · text/plain · 5 bytes"),
        ([f"{SUBJECT}:asgi_app", "/fails"], 1, "no response: ValueError: broken"),
        ([f"{SUBJECT}:app", "/plain/1", "--adapter", "asgiref"], 0, "200 OK · "),
    ],
)
def test_exit_code_and_summary(arguments: list[str], code: int, summary: str) -> None:
    found, out, err = trace(*arguments)
    assert found == code, err
    assert f"\n\n{summary}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a:b"], "Missing PATH: bridge trace APP [METHOD] PATH"),
        (["/x"], "Missing APP before the path '/x'"),
        (["a:b", "x"], "PATH begins with a slash, as /users/7 does; got 'x'"),
        (["a:b", "http://localhost/"], "PATH begins with a slash"),
        (["a:b", "GET", "/x", "/y"], "two words at most; got 'GET /x /y'"),
        (["a:b", "G T", "/x"], "METHOD is a word such as GET; got 'G T'"),
        (["a:b", "/x", "-H", "Accept"], "-H takes a header field such as 'Accept: text/html'; got 'Accept'"),
        (["a:b", "/x", "-H", "A b: c"], "-H takes a header field"),
        (["a:b", "/x", "-H", "A: b\r\nc: d"], "-H takes a header field"),
        (["a:b", "/x", "-d", "@/no/such"], "-d @/no/such: cannot read '/no/such': No such file"),
    ],
)
def test_usage_errors(arguments: list[str], message: str) -> None:
    result: Any = CliRunner().invoke(bridge, ["trace", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_path_that_is_no_text() -> None:
    """To the app a byte that is no UTF-8 is what a server makes of it."""
    _, out, err = trace(f"{SUBJECT}:app", "/\udcff?a=\udcff", "--json")
    scope = json.loads(out)["steps"][0]["facts"]["scope"]
    assert (scope["raw_path"], scope["path"], scope["query_string"]) == ("/%FF", "/\ufffd", "a=%FF"), err
