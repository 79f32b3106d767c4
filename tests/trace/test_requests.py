"""What a trace says of a request: which steps, in which order and place, on which adapter."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware
from asgiref.sync import sync_to_async
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from bridge import BridgeError, WSGIToASGI
from bridge.trace import StepRecord, TracedApp, TracedRequest, TraceRecord, trace_request
from tests.trace.subject import asgi_app, create_app, drops, wsgi_app

_threads: list[ThreadPoolExecutor] = []


def with_a2wsgi(app: Any) -> Any:
    adapter = WSGIMiddleware(app)
    _threads.append(adapter.executor)
    return adapter


ADAPTERS: dict[str, Any] = {"bridge": WSGIToASGI, "a2wsgi": with_a2wsgi, "asgiref": WsgiToAsgi}


@pytest.fixture(autouse=True)
def threads_of_a2wsgi_end() -> Iterator[None]:
    """Which it leaves to the garbage collector."""
    yield
    while _threads:
        _threads.pop().shutdown()


@pytest.fixture(autouse=True, scope="module")
def thread_of_asgiref() -> None:
    """It has one, for good."""
    asyncio.run(sync_to_async(int)())


async def trace_of(path: str, method: str = "GET", app: Any = None, **options: Any) -> TraceRecord:
    request = await trace_request(app or create_app(), method, path, **options)
    record = request.as_json()
    assert not [step for step in record["steps"] if step["ended"] is None]
    return record


def names(record: TraceRecord, *layers: str) -> list[str]:
    return [step["name"] for step in record["steps"] if step["layer"] in layers]


def find(record: TraceRecord, layer: str, name: str) -> StepRecord:
    (found,) = [step for step in record["steps"] if (step["layer"], step["name"]) == (layer, name)]
    return found


def facts(record: TraceRecord, layer: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = find(record, layer, name)["facts"]
    return found


def within(record: TraceRecord, step: StepRecord) -> list[str]:
    """The layers and names of what a step is part of, from the outside."""
    path: list[str] = []
    while step["parent"] is not None:
        step = record["steps"][step["parent"]]
        path.insert(0, f"{step['layer']} {step['name']}")
    return path


HOOKS = [
    "url_value_preprocessor",
    "before_request",
    "after_request",
    "teardown_request",
    "teardown_appcontext",
]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_all_layers_of_a_plain_view(adapter: str) -> None:
    record = await trace_of("/plain/7?a=1&token=xyz", adapt=ADAPTERS[adapter])
    assert (record["outcome"], record["error"]) == ("answered", "")
    assert record["steps"][0]["detail"] == "GET /plain/7?a=1&token=… 3 characters"
    assert record["response"] is not None
    assert (record["response"]["status"], record["response"]["body"]) == (200, "plain")
    assert [step["id"] for step in record["steps"]] == list(range(len(record["steps"])))
    assert names(record, "Flask") == [
        "request_context",
        "url_value_preprocessor",
        "before_request",
        "make_response",
        "process_response",
        "after_request",
        "teardown_request",
        "teardown_appcontext",
    ]
    assert find(record, "Werkzeug", "match")["detail"] == "GET /plain/7 → /plain/<int:id> plain(id=7)"
    view = find(record, "view", "plain")
    assert view["detail"] == "plain(id=7)"
    assert within(record, view) == ["ASGI call", "WSGI app"]
    assert facts(record, "WSGI", "start_response")["status"] == "200 OK"
    closes = names(record, "WSGI").count("close")
    assert closes == (0 if adapter == "asgiref" else 1)  # it does not, against PEP 3333
    assert names(record, "runner") == ["in a thread"]
    assert view["thread"] != "loop"
    sent = [step["facts"]["event"] for step in record["steps"] if step["name"] == "send"]
    assert isinstance(sent[0], dict)
    assert sent[0]["type"] == "http.response.start"
    for step in record["steps"]:
        assert step["ended"] is not None
        assert 0 <= step["began"] <= step["ended"] <= record["duration"]


async def test_async_view_is_on_the_loop_and_its_plain_hooks_are_in_threads() -> None:
    record = await trace_of("/async/7")
    view = find(record, "view", "waits")
    assert view["thread"] == "loop"
    assert find(record, "runner", "on the loop")["detail"] == "view 'waits': the view is async"
    for name in ("before_request", "after_request", "teardown_request"):
        hook = find(record, "Flask", name)
        assert hook["thread"].startswith("bridge-"), name
    assert within(record, find(record, "Jinja2", "render")) == ["ASGI call", "WSGI app", "view waits"]


@pytest.mark.parametrize(
    ("adapt", "why"),
    [
        (partial(WSGIToASGI, async_views="thread"), "view 'waits': async_views is thread"),
        (with_a2wsgi, ""),
    ],
)
async def test_async_view_in_a_thread(adapt: Any, why: str) -> None:
    record = await trace_of("/async/7", adapt=adapt)
    assert find(record, "runner", "in a thread")["detail"] == why


async def test_listening_for_a_disconnect_is_no_failure() -> None:
    record = await trace_of("/events")
    assert not [step for step in record["steps"] if step["failed"]]


async def test_methods_of_class_based_views_are_part_of_the_view() -> None:
    record = await trace_of("/item/7")
    inner = [step for step in record["steps"] if step["layer"] == "view"]
    assert [(step["name"], step["detail"].partition("(")[0]) for step in inner] == [
        ("item", "view"),
        ("function", "MethodView.dispatch_request"),
        ("function", "Item.get"),
    ]
    assert inner[2]["parent"] == inner[1]["id"]
    assert inner[0]["thread"] == "loop"


async def test_template() -> None:
    record = await trace_of("/page")
    assert facts(record, "Jinja2", "render")["context"]["word"] == "str"
    assert record["response"] is not None
    hidden = [name for name, value in record["response"]["headers"] if value.startswith("… ")]
    assert hidden == ["set-cookie"]


@pytest.mark.parametrize(
    ("method", "path", "status", "said", "steps"),
    [
        (
            "GET",
            "/nothing",
            404,
            "GET /nothing → NotFound 404",
            ["handle_user_exception", "errorhandler"],
        ),
        (
            "PUT",
            "/page",
            405,
            "PUT /page → MethodNotAllowed 405, allowed are ",
            ["handle_user_exception"],
        ),
        (
            "GET",
            "/folder",
            308,
            "GET /folder → RequestRedirect 308 to http://localhost/folder/",
            ["handle_user_exception"],
        ),
    ],
)
async def test_no_view(method: str, path: str, status: int, said: str, steps: list[str]) -> None:
    record = await trace_of(path, method)
    assert record["response"] is not None
    assert record["response"]["status"] == status
    match = find(record, "Werkzeug", "match")
    assert match["failed"]
    assert match["detail"].startswith(said)
    assert [name for name in names(record, "Flask") if "handle" in name] == steps
    assert names(record, "view") == []


async def test_error_handler_of_an_exception() -> None:
    record = await trace_of("/sold-out")
    assert find(record, "view", "sold_out")["failed"]
    handler = find(record, "Flask", "errorhandler")
    assert within(record, handler)[-1] == "Flask handle_user_exception"
    assert record["response"] is not None
    assert record["response"]["status"] == 409


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_exception_in_a_view(adapter: str) -> None:
    record = await trace_of("/breaks", adapt=ADAPTERS[adapter])
    assert (record["outcome"], record["response"] and record["response"]["status"]) == ("answered", 500)
    assert find(record, "view", "breaks")["detail"] == "breaks() raised ValueError: broken"
    assert find(record, "Flask", "handle_user_exception")["detail"] == "ValueError: broken: nobody handles it"


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_streamed_chunks(adapter: str) -> None:
    record = await trace_of("/stream", adapt=ADAPTERS[adapter])
    chunks = [step for step in record["steps"] if step["name"] == "chunk"]
    assert [chunk["facts"].get("data") for chunk in chunks] == ["one", "two", None]
    assert chunks[2]["detail"] == "none left: the body is at its end"
    assert record["response"] is not None
    assert record["response"]["body"] == "onetwo"


async def test_server_sent_events_come_from_the_loop() -> None:
    record = await trace_of("/events")
    assert {step["thread"] for step in record["steps"] if step["layer"] in ("WSGI", "view")} == {"loop"}
    sent: list[Any] = [step["facts"]["event"] for step in record["steps"] if step["name"] == "send"]
    assert [event["body"].strip() for event in sent[1:]] == ["data: one", "data: two", ""]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_exception_in_a_generator(adapter: str) -> None:
    record = await trace_of("/breaks-later", adapt=ADAPTERS[adapter])
    assert record["outcome"] == "failed"
    assert record["response"] is not None
    assert (record["response"]["status"], record["response"]["complete"]) == (200, False)
    chunks = [step for step in record["steps"] if step["name"] == "chunk"]
    assert chunks[-1]["detail"] == "the next chunk raised ValueError: broken"


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_stream_without_an_end_is_left(adapter: str) -> None:
    """And it holds nothing afterwards: a thread that goes on would keep the process from ending."""
    request = await trace_request(create_app(), "GET", "/endless", adapt=ADAPTERS[adapter], max_body=50_000)
    assert (request.outcome, request.exchange.status) == ("left", 200)
    assert re.fullmatch(r"the client left after [\d,]+ bytes in [\d,]+ steps", request.error)
    if adapter != "asgiref":
        assert names(request.as_json(), "WSGI")[-1] == "close"


async def test_a_trace_has_an_end() -> None:
    """Many small parts fill the memory before they are many bytes."""
    request = await trace_request(drops)
    record = request.as_json()
    assert record["outcome"] == "left"
    assert 5000 < len(record["steps"]) < 6000


async def test_an_app_that_does_not_answer_is_left() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive())["type"] != "http.disconnect":
                pass

    request = await trace_request(never, deadline=0.05)
    assert (request.outcome, request.exchange.status) == ("left", None)
    assert request.error == "the client left after 0.05 s"


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_upload(adapter: str) -> None:
    record = await trace_of("/upload", "POST", body=b"x" * 100_000, adapt=ADAPTERS[adapter])
    assert record["response"] is not None
    assert record["response"]["body"] == "100000"
    received = [step for step in record["steps"] if step["name"] == "receive"]
    details = [step["detail"] for step in received if "http.request" in step["detail"]]
    assert details == ["http.request 65,536 bytes, more to come", "http.request 34,464 bytes, complete"]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_wsgi_app(adapter: str) -> None:
    record = await trace_of("/", "POST", wsgi_app, body=b"third", adapt=ADAPTERS[adapter])
    if adapter == "asgiref":  # its start_response returns nothing to write with, against PEP 3333
        assert record["error"] == "TypeError: 'NoneType' object is not callable"
        return
    assert record["outcome"] == "answered"
    assert names(record, "WSGI") == ["app", "start_response"]
    assert record["response"] is not None
    assert record["response"]["body"] == "firstsecondthird"


async def test_an_adapter_may_be_given_as_it_is() -> None:
    adapter = WSGIToASGI(create_app(), async_views="thread")
    record = await trace_of("/async/1", app=adapter)
    assert names(record, "runner") == ["in a thread"]


async def test_an_asgi_app_is_seen_from_outside() -> None:
    record = await trace_of("/", app=asgi_app)
    assert names(record, "ASGI") == ["call", "receive", "send", "send"]
    assert len(record["steps"]) == 4


async def test_an_asgi_app_that_fails() -> None:
    record = await trace_of("/fails", app=asgi_app)
    assert (record["outcome"], record["error"], record["response"]) == ("failed", "ValueError: broken", None)
    assert find(record, "ASGI", "call")["failed"]


async def test_headers_are_followed() -> None:
    headers = [("X_User", "1"), ("Proxy", "p"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Accept", "x")]
    record = await trace_of("/plain/1", headers=headers)
    fates = {each["header"]: each["key"] for each in facts(record, "environ", "environ")["headers"]}
    assert fates == {
        "host": "HTTP_HOST",
        "user-agent": "HTTP_USER_AGENT",
        "x_user": None,
        "proxy": None,
        "cookie": "HTTP_COOKIE",
        "accept": "HTTP_ACCEPT",
    }
    assert facts(record, "environ", "environ")["environ"]["HTTP_COOKIE"] == "… 8 characters"


async def test_the_prefix_of_a_mounted_app() -> None:
    record = await trace_of("/plain/1", root_path="/shop")
    environ = facts(record, "environ", "environ")["environ"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/plain/1")


async def test_nothing_secret_is_told() -> None:
    headers = [("Authorization", "Bearer 5ecre7"), ("Cookie", "5ecre7=5ecre7"), ("X-Api-Key", "5ecre7")]
    record = await trace_of("/page?password=5ecre7", headers=headers)
    assert "5ecre7" not in str(record)
    assert "not to be seen" not in str(record)


async def test_requests_at_the_same_time_do_not_mix() -> None:
    async with TracedApp(create_app()) as app:
        paths = ["/async/1", "/plain/2", "/async/3", "/plain/4", "/stream"]
        requests = [app.begin("GET", path) for path in paths]
        await asyncio.gather(*(request.run() for request in requests))
        alone = [await app.begin("GET", path).run() for path in paths]

    def shape(request: TracedRequest) -> list[tuple[str, str]]:
        """What Flask did, and the view; the order of the adapter's two sides is nobody's to say."""
        steps = request.as_json()["steps"]
        return [(each["layer"], each["name"]) for each in steps if each["layer"] not in ("ASGI", "WSGI")]

    assert [shape(request) for request in requests] == [shape(request) for request in alone]
    matches = [find(request.as_json(), "Werkzeug", "match")["detail"] for request in requests]
    assert [match.partition("(")[2] for match in matches] == ["id=1)", "id=2)", "id=3)", "id=4)", ")"]


async def test_steps_are_seen_while_they_happen() -> None:
    app, began, may_end = Flask("waiting"), asyncio.Event(), asyncio.Event()

    @app.get("/")
    async def waits() -> str:
        began.set()
        await may_end.wait()
        return "done"

    async with TracedApp(app) as traced:
        request = traced.begin("GET", "/")
        running = asyncio.create_task(request.run())
        await began.wait()
        record = request.as_json()
        assert (record["outcome"], find(record, "view", "waits")["ended"]) == ("running", None)
        may_end.set()
        await running
        assert find(request.as_json(), "view", "waits")["ended"] is not None


async def test_what_an_app_overrides_decides_where_it_runs_as_when_it_is_served() -> None:
    class Strict(Flask):
        def make_response(self, rv: Any) -> Any:
            return super().make_response(rv)

    app = Strict("strict")

    @app.get("/")
    async def waits() -> str:
        return "done"

    record = await trace_of("/", app=app)
    assert "overridden method 'Strict.make_response'" in find(record, "runner", "in a thread")["detail"]


async def test_requests_need_a_running_app_and_a_path() -> None:
    app = TracedApp(create_app())
    with pytest.raises(BridgeError, match="does not run"):
        app.begin("GET", "/")
    async with app:
        with pytest.raises(ValueError, match="begins with a slash; got 'x'"):
            app.begin("GET", "x")
    with pytest.raises(TypeError, match="cannot tell whether"):
        TracedApp(lambda: None)
