"""deploy/lambda/handler.py, with events of a function URL, an API Gateway and a load balancer."""

import asyncio
import base64
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.examples import DEPLOY

SHOP = """
from flask import Flask, request

app = Flask(__name__)

@app.post("/buy/<name>")
def buy(name):
    return {
        "name": name,
        "query": request.args,
        "data": request.get_data(as_text=True),
        "address": request.remote_addr,
        "host": request.host,
    }

@app.get("/picture")
def picture():
    return b"\\xff\\x00", {"Content-Type": "image/png"}

@app.get("/fail")
def fail():
    raise ZeroDivisionError
"""

Handler = Callable[[dict[str, Any], None], dict[str, Any]]


def of_function_url(method: str, path: str, body: str = "") -> dict[str, Any]:
    """Also that of an API Gateway in its second version."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "a=1",
        "headers": {"host": "shop.example", "content-type": "text/plain"},
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.7"},
            "stage": "$default",
        },
        "body": base64.b64encode(body.encode()).decode(),
        "isBase64Encoded": True,
    }


def of_gateway(method: str, path: str, body: str = "") -> dict[str, Any]:
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "shop.example", "Content-Type": "text/plain"},
        "multiValueHeaders": {"Host": ["shop.example"], "Content-Type": ["text/plain"]},
        "queryStringParameters": {"a": "1"},
        "multiValueQueryStringParameters": {"a": ["1"]},
        "requestContext": {"identity": {"sourceIp": "192.0.2.7"}, "stage": "prod"},
        "body": body,
        "isBase64Encoded": False,
    }


def of_load_balancer(method: str, path: str, body: str = "") -> dict[str, Any]:
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {"a": "1"},
        "headers": {"host": "shop.example", "content-type": "text/plain", "x-forwarded-for": "192.0.2.7"},
        "body": body,
        "isBase64Encoded": False,
    }


EVENTS = {"function URL": of_function_url, "gateway": of_gateway, "load balancer": of_load_balancer}


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handler]:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(DEPLOY / "lambda")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # Mangum would make one, and leave it open for the next invocation
    found: Handler = importlib.import_module("handler").handler
    yield found
    asyncio.set_event_loop(None)
    loop.close()
    for name in ("handler", "shop"):
        del sys.modules[name]


@pytest.mark.parametrize("source", EVENTS)
def test_an_invocation(handler: Handler, source: str) -> None:
    for _ in range(2):
        answer = handler(EVENTS[source]("POST", "/buy/café", "two"), None)
        assert answer["statusCode"] == 200
        for part in ('"name":"caf\\u00e9"', '"a":"1"', '"data":"two"', '"192.0.2.7"', '"shop.example"'):
            assert part in answer["body"]
    answer = handler(EVENTS[source]("GET", "/picture"), None)
    assert answer["isBase64Encoded"]
    assert base64.b64decode(answer["body"]) == b"\xff\x00"


def test_an_app_that_fails_is_a_500(handler: Handler) -> None:
    assert handler(of_function_url("GET", "/fail"), None)["statusCode"] == 500
