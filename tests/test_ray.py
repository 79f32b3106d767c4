"""`bridge.ray` without a cluster: what it takes and refuses, and what a replica makes of an app."""

import asyncio
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import flask
import pytest

from bridge import Mounts, WSGIToASGI
from bridge.errors import BridgeError
from bridge.flask import EventSource
from bridge.ray import Replica, deployment, parse_replicas
from bridge.testing import Client
from tests.conformance.apps import echoing, hello


@pytest.fixture
def ray() -> Any:
    """Ray, which is warned of much while it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install 'ray[serve]'")
        return pytest.importorskip("ray")


@asynccontextmanager
async def open_till(app: Any) -> AsyncIterator[dict[str, str]]:
    yield {"till": "open"}


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An app that does not know lifespans."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope["state"]).encode()})


async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        scope["state"]["pool"] = "a pool"
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            await send({"type": f"lifespan.{kind}.complete"})
    else:
        await asgi(scope, receive, send)


def make() -> WSGIToASGI:
    return WSGIToASGI(hello)


# Replicas


@pytest.mark.parametrize(
    ("typed", "bounds"), [(3, (3, 3)), ("3", (3, 3)), ("2..20", (2, 20)), ("1..1", (1, 1))]
)
def test_replicas(typed: int | str, bounds: tuple[int, int]) -> None:
    assert parse_replicas(typed) == bounds


@pytest.mark.parametrize("typed", [0, -1, "", "two", "2..", "..2", "20..2", "0..2", "2...3", "1.5", "２"])
def test_what_is_no_number_of_replicas(typed: int | str) -> None:
    with pytest.raises(
        ValueError, match=r"must begin with 1 or more|is neither a number of replicas, such as 3"
    ):
        parse_replicas(typed)


# In a replica


@pytest.mark.parametrize(
    ("app", "body"),
    [
        (hello, b"hello"),
        (make, b"hello"),
        (lambda: hello, b"hello"),
        (make(), b"hello"),
        ("tests.test_ray:make()", b"hello"),
        ("tests.test_ray:asgi", b"{}"),
        (asgi, b"{}"),
        (with_lifespan, b"{'pool': 'a pool'}"),
        (lambda: with_lifespan, b"{'pool': 'a pool'}"),
    ],
)
async def test_a_replica_serves_any_form_of_an_app(app: str | Callable[..., Any], body: bytes) -> None:
    replica = Replica(app, {}, None)
    served = await replica.__serve_build_asgi_app__()
    async with Client(served) as client:  # whose lifespan is not the app's
        assert (await client.get("/")).content == body


async def test_a_replica_passes_the_options_on() -> None:
    app = echoing(lambda environ: environ["asgi.state"]["till"])
    replica = Replica(app, {"lifespan": open_till, "threads": 1}, None)
    async with Client(await replica.__serve_build_asgi_app__()) as client:
        assert (await client.get("/")).text == "'open'"


@pytest.mark.parametrize(
    ("app", "options", "message"),
    [
        ("nosuch:app", {}, "no module named 'nosuch'"),
        (lambda: 7, {}, "is of type int, which is not callable, and so not an app"),
        (asgi, {"threads": 3}, "is an ASGI app, which takes no threads"),
        (
            hello,
            {"lifespan": lambda app: None},
            "not an async context manager; is the decorator @contextlib.asynccontextmanager",
        ),
    ],
)
async def test_a_replica_says_why_it_does_not_start(app: Any, options: dict[str, Any], message: str) -> None:
    replica = Replica(app, options, None)
    with pytest.raises(BridgeError, match=message):
        await replica.__serve_build_asgi_app__()


@pytest.mark.parametrize("wrap", [WSGIToASGI, lambda app: Mounts({"/": app})], ids=["alone", "mounted"])
async def test_a_replica_ends_its_event_streams(wrap: Callable[[Any], Any]) -> None:
    app = flask.Flask("app")

    @app.get("/")
    async def ticks() -> flask.Response:
        async def events() -> AsyncIterator[str]:
            yield "tick"
            await asyncio.Event().wait()

        return EventSource(events())

    replica = Replica(lambda: wrap(app), {}, None)
    async with (
        Client(await replica.__serve_build_asgi_app__()) as client,
        client.stream("GET", "/") as response,
        asyncio.timeout(10),
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == "data: tick"
        await replica.end_streams()
        assert [line async for line in lines] == [""]


def plain_no() -> bool:
    assert threading.current_thread() is not threading.main_thread()
    return False


async def async_no() -> bool:
    return False


def yes() -> None:
    """Like a check that only raises if something is wrong."""


@pytest.mark.parametrize(
    ("check", "is_well"),
    [(None, True), (yes, True), ("tests.test_ray:yes", True), (plain_no, False), (async_no, False)],
)
async def test_a_replica_is_as_well_as_the_app_says(check: Any, is_well: bool) -> None:
    replica = Replica(hello, {}, check)
    async with Client(await replica.__serve_build_asgi_app__()):
        if is_well:
            await replica.check_health()
        else:
            with pytest.raises(BridgeError, match="health check returned False"):
                await replica.check_health()


# What deployment takes


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"name": "app", "max_ongoing_requests": 40, "num_replicas": 1}),
        ({"threads": 8}, {"max_ongoing_requests": 8}),
        (
            {"threads": 8, "max_ongoing_requests": 100, "name": "shop"},
            {"name": "shop", "max_ongoing_requests": 100},
        ),
        ({"replicas": "4"}, {"num_replicas": 4}),
    ],
)
def test_options_are_the_adapters_or_rays(options: dict[str, Any], expected: dict[str, Any]) -> None:
    made: Any = deployment("app:app", **options)
    described = made._bound_deployment
    assert {name: getattr(described, name) for name in expected} == expected


def test_a_range_of_replicas_is_an_autoscaling_config(ray: Any) -> None:
    made: Any = deployment("app:app", replicas="2..20", autoscaling_config={"target_ongoing_requests": 7})
    config = made._bound_deployment._deployment_config.autoscaling_config
    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (2, 20, 7)


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(
    ("app", "options", "message"),
    [
        (7, {}, "takes an app, its name, or a function that makes it; got 7"),
        (flask.Flask("shop"), {}, "cannot be pickled.*name it"),
        (WSGIToASGI(flask.Flask("shop")), {}, "cannot be pickled.*name it"),
        ("app:app", {"nosuch": 1}, "nosuch"),
    ],
)
def test_what_deployment_refuses(app: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        deployment(app, **options)


# Pickles


async def test_an_adapter_at_work_pickles_by_value(ray: Any) -> None:
    """With an app and a lifespan that only cloudpickle can, as Ray does it."""
    till = "open"

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        yield {"till": till}

    adapter = WSGIToASGI(echoing(lambda environ: environ["asgi.state"]["till"]), lifespan=lifespan)
    async with Client(adapter) as client:
        assert (await client.get("/")).text == "'open'"
        copy = pickle.loads(ray.cloudpickle.dumps(adapter))  # our own bytes
    async with Client(copy) as client:
        assert (await client.get("/")).text == "'open'"


# Ray itself


def test_bridge_imports_no_ray() -> None:
    code = "import sys, bridge, bridge.ray, bridge.command; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ray_that_is_not_installed_is_named() -> None:
    code = "import sys; sys.modules['ray'] = None; import bridge.ray; bridge.ray.deployment('app:app')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1] == (
        "bridge.errors.BridgeError: Ray Serve is not installed (ray is missing): pip install 'ray[serve]'"
    )
