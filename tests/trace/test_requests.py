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

from bridge import BridgeError, WSGIToASGI
from bridge.trace import StepRecord, TracedApp, TracedRequest, TraceRecord, trace_request
from tests.trace.subject import asgi_app, create_app, wsgi_app

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
    assert not [step for step in request.trace.steps if step.ended is None]
    return request.as_json()


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
    assert (record["outcome"], record["adapter"], record["error"]) == ("answered", adapter, "")
    assert record["request"]["path"] == "/plain/7?a=1&token=… 3 characters"
    assert record["response"] is not None
    assert (record["response"]["status"], record["response"]["body"]) == (200, "plain")
    assert [step["id"] for step in record["steps"]] == list(range(len(record["steps"])))
    assert names(record, "Flask") == [
        "request_context",
        "signal appcontext_pushed",
        "signal request_started",
        "url_value_preprocessor",
        "before_request",
        "make_response",
        "process_response",
        "after_request",
        "signal request_finished",
        "teardown_request",
        "signal request_tearing_down",
        "teardown_appcontext",
        "signal appcontext_tearing_down",
        "signal appcontext_popped",
    ]
    match = facts(record, "Werkzeug", "match")
    assert (match["rule"], match["endpoint"], match["arguments"]) == ("/plain/<int:id>", "plain", {"id": 7})
    view = find(record, "view", "plain")
    assert view["detail"] == "plain(id=7)"
    assert within(record, view) == ["ASGI call", "WSGI app"]
    assert facts(record, "WSGI", "start_response")["status"] == "200 OK"
    closes = names(record, "WSGI").count("close")
    assert closes == (0 if adapter == "asgiref" else 1)  # it does not, against PEP 3333
    assert facts(record, "runner", "in a thread")["runner"] == "thread"
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
    assert view["facts"]["is_async"] is True
    assert 50_000 < int(str(view["facts"]["waiting"])) <= view["ended"] - view["began"]  # type: ignore[operator]  # it has ended
    assert facts(record, "runner", "on the loop")["why"] == (
        "the view 'waits' is async: it awaits there, and holds no thread"
    )
    for name in ("before_request", "after_request", "teardown_request"):
        hook = find(record, "Flask", name)
        assert hook["thread"].startswith("bridge-"), name
        assert "hop" in hook["facts"]
    assert within(record, find(record, "Jinja2", "render")) == ["ASGI call", "WSGI app", "view waits"]


@pytest.mark.parametrize(
    ("adapt", "why"),
    [
        (
            partial(WSGIToASGI, async_views="thread"),
            "the view 'waits' is async, but async_views is thread",
        ),
        (
            with_a2wsgi,
            "a2wsgi has a thread of its pool for every call; the view 'waits' is async, and gets an event "
            "loop there",
        ),
    ],
)
async def test_async_view_in_a_thread(adapt: Any, why: str) -> None:
    record = await trace_of("/async/7", adapt=adapt)
    assert facts(record, "runner", "in a thread")["why"] == why
    assert int(str(find(record, "view", "waits")["facts"]["waiting"])) > 50_000


async def test_a_view_that_never_waits() -> None:
    """Nor does the adapter's listening for a disconnect count for a failure of anything."""
    record = await trace_of("/events")
    assert find(record, "view", "events")["facts"]["waiting"] == 0
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


async def test_template_and_flash() -> None:
    record = await trace_of("/page")
    assert facts(record, "Jinja2", "render")["context"]["word"] == "str"
    assert facts(record, "Flask", "signal message_flashed")["message"] == "saved"
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
            ["handle_user_exception", "errorhandler(404)"],
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
    handler = find(record, "Flask", "errorhandler(OutOfStockError)")
    assert within(record, handler)[-1] == "Flask handle_user_exception"
    assert record["response"] is not None
    assert record["response"]["status"] == 409


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_exception_in_a_view(adapter: str) -> None:
    record = await trace_of("/breaks", adapt=ADAPTERS[adapter])
    assert (record["outcome"], record["response"] and record["response"]["status"]) == ("answered", 500)
    assert facts(record, "view", "breaks")["error"] == "ValueError: broken"
    assert facts(record, "Flask", "signal got_request_exception")["error"] == "ValueError: broken"
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
    chunks = [step for step in record["steps"] if step["name"] == "chunk"]
    assert [step["thread"] for step in chunks] == ["loop"] * 3
    assert [str(step["facts"].get("data", "")).strip() for step in chunks] == ["data: one", "data: two", ""]
    assert "close" in names(record, "WSGI")


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_exception_in_a_generator(adapter: str) -> None:
    record = await trace_of("/breaks-later", adapt=ADAPTERS[adapter])
    assert record["outcome"] == "failed"
    assert record["response"] is not None
    assert (record["response"]["status"], record["response"]["complete"]) == (200, False)
    chunks = [step for step in record["steps"] if step["name"] == "chunk"]
    assert chunks[-1]["facts"] == {"error": "ValueError: broken"}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_stream_without_an_end_is_left(adapter: str) -> None:
    """And it holds nothing afterwards: a thread that goes on would keep the process from ending."""
    request = await trace_request(create_app(), "GET", "/endless", adapt=ADAPTERS[adapter], max_body=50_000)
    assert (request.outcome, request.status, request.is_complete) == ("left", 200, False)
    assert re.fullmatch(r"the client left after [\d,]+ bytes", request.error)
    if adapter != "asgiref":
        assert names(request.as_json(), "WSGI")[-1] == "close"


async def test_an_app_that_does_not_answer_is_left() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive())["type"] != "http.disconnect":
                pass

    request = await trace_request(never, deadline=0.05)
    assert (request.outcome, request.status) == ("left", None)
    assert request.error == "the client left after 0.05 s"


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_upload(adapter: str) -> None:
    record = await trace_of("/upload", "POST", body=b"x" * 100_000, adapt=ADAPTERS[adapter])
    assert record["request"]["size"] == 100_000
    assert record["response"] is not None
    assert record["response"]["body"] == "100000"
    received = [step for step in record["steps"] if step["name"] == "receive"]
    details = [step["detail"] for step in received if "http.request" in step["detail"]]
    assert details == ["http.request 65,536 bytes, more to come", "http.request 34,464 bytes, complete"]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_wsgi_app(adapter: str) -> None:
    record = await trace_of("/", "POST", wsgi_app, body=b"third", adapt=ADAPTERS[adapter])
    if adapter == "asgiref":  # whose start_response returns nothing to write with, against PEP 3333
        assert record["error"] == "TypeError: 'NoneType' object is not callable"
        return
    assert record["outcome"] == "answered"
    assert names(record, "WSGI") == ["app", "start_response", "write", "chunk", "chunk"]
    assert record["response"] is not None
    assert record["response"]["body"] == "firstsecondthird"


async def test_an_adapter_may_be_given_as_it_is() -> None:
    adapter = WSGIToASGI(create_app(), async_views="thread")
    record = await trace_of("/async/1", app=adapter)
    assert (record["adapter"], names(record, "runner")) == ("bridge", ["in a thread"])
    assert "wsgi_app" not in vars(adapter.app)


async def test_an_asgi_app_is_seen_from_outside() -> None:
    record = await trace_of("/", app=asgi_app)
    assert (record["adapter"], names(record, "ASGI")) == (None, ["call", "receive", "send", "send"])
    assert len(record["steps"]) == 4


async def test_an_asgi_app_that_fails() -> None:
    record = await trace_of("/fails", app=asgi_app)
    assert (record["outcome"], record["error"], record["response"]) == ("failed", "ValueError: broken", None)
    assert find(record, "ASGI", "call")["failed"]


async def test_headers_are_followed() -> None:
    headers = [("X_User", "1"), ("Proxy", "p"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("Accept", "x")]
    record = await trace_of("/plain/1", headers=headers)
    fates = {
        each["header"]: (each["key"], each["fate"]) for each in facts(record, "environ", "environ")["headers"]
    }
    assert fates == {
        "host": ("HTTP_HOST", "kept"),
        "user-agent": ("HTTP_USER_AGENT", "kept"),
        "x_user": (None, "dropped"),
        "proxy": (None, "dropped"),
        "cookie": ("HTTP_COOKIE", "joined"),
        "accept": ("HTTP_ACCEPT", "kept"),
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
        alone = [await app.request("GET", path) for path in paths]

    def shape(request: TracedRequest) -> list[tuple[str, str]]:
        """What Flask did, and the view; the order of the adapter's two sides is nobody's to say."""
        inner = [each for each in request.trace.steps if each.layer not in ("ASGI", "WSGI")]
        return [(each.layer, each.name) for each in inner]

    assert [shape(request) for request in requests] == [shape(request) for request in alone]
    matches = [facts(request.as_json(), "Werkzeug", "match")["arguments"] for request in requests]
    assert matches == [{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}, {}]


async def test_a_listener_sees_steps_while_they_happen() -> None:
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()
    steps: dict[int, StepRecord] = {}

    def listener(step: StepRecord) -> None:
        steps[step["id"]] = step
        if step["layer"] == "view":
            loop.call_soon_threadsafe(waiting.set)

    async with TracedApp(create_app()) as app:
        request = app.begin("GET", "/async/1", listener=listener)
        running = asyncio.create_task(request.run())
        await waiting.wait()
        (view,) = [step for step in steps.values() if step["layer"] == "view"]
        assert view["ended"] is None
        assert request.as_json()["outcome"] == "running"
        await running
    assert [steps[number] for number in sorted(steps)] == request.as_json()["steps"]


@pytest.mark.parametrize("path", ["/nothing", "/breaks", "/breaks-later", "/page", "/events"])
async def test_a_listener_has_heard_all_at_the_end(path: str) -> None:
    steps: dict[int, StepRecord] = {}
    request = await trace_request(
        create_app(), "GET", path, listener=lambda step: steps.update({step["id"]: step})
    )
    assert [steps[number] for number in sorted(steps)] == request.as_json()["steps"]


async def test_requests_need_a_running_app_and_a_path() -> None:
    app = TracedApp(create_app())
    with pytest.raises(BridgeError, match="does not run"):
        app.begin("GET", "/")
    async with app:
        with pytest.raises(ValueError, match="begins with a slash; got 'x'"):
            app.begin("GET", "x")
    with pytest.raises(TypeError, match="cannot tell whether"):
        TracedApp(lambda: None)
