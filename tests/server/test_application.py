"""`bridge.server.application`: what is made of a loaded app, and how it is described."""

import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
from a2wsgi import WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi

from bridge import WSGIToASGI
from bridge.interfaces import Interface
from bridge.server.application import make_application
from bridge.server.settings import AdapterName, ServeSettings
from bridge.testing import Client

KINDS = "tests.server.apps.kinds"

SERVED: list[tuple[str, Interface | None, str]] = [
    # (the attribute, the interface that is said, how it is described)
    ("wsgi", None, "WSGI app '{name}' · adapter bridge, 40 threads"),
    ("anything", "wsgi", "WSGI app '{name}' · adapter bridge, 40 threads"),
    ("flask", None, "Flask app '{name}' (1 route and static files) · adapter bridge, 40 threads"),
    (
        "async_flask",
        None,
        "Flask app '{name}' (1 route and static files: 1 async on the loop) · adapter bridge, 40 threads",
    ),
    ("asgi", None, "ASGI app '{name}' · served as it is, no adapter"),
    ("asgi", "asgi", "ASGI app '{name}' · served as it is, no adapter"),
    ("returns_a_coroutine", None, "ASGI app '{name}' · served as it is, no adapter"),
    ("Awaited", None, "ASGI app '{name}' · served as it is, no adapter"),
    ("ASGI2", None, "ASGI 2 app '{name}' · served as it is, no adapter"),
]


@pytest.mark.parametrize(("attribute", "interface", "description"), SERVED)
async def test_every_kind_of_app_is_served(
    attribute: str, interface: Interface | None, description: str
) -> None:
    settings = ServeSettings(f"{KINDS}:{attribute}", interface=interface)
    application = make_application(settings)
    assert application.description == description.format(name=settings.target)
    async with Client(cast(Any, application.asgi), interface="asgi") as client:
        expected = "wsgi" if attribute == "anything" else attribute
        assert (await client.get("/")).text == expected


async def test_async_views_may_run_in_threads() -> None:
    settings = ServeSettings(f"{KINDS}:async_flask", async_views="thread")
    application = make_application(settings)
    assert "(1 route and static files)" in application.description
    async with Client(cast(Any, application.asgi), interface="asgi") as client:
        assert (await client.get("/")).text == "async_flask"


def _of_bridge(asgi: Any) -> tuple[int, int]:
    assert isinstance(asgi, WSGIToASGI)
    return asgi.threads, asgi.streams


def _of_a2wsgi(asgi: Any) -> tuple[int, None]:
    assert isinstance(asgi, WSGIMiddleware)
    threads = asgi.executor._max_workers
    asgi.executor.shutdown()
    return threads, None


def _of_asgiref(asgi: Any) -> tuple[None, None]:
    assert isinstance(asgi, WsgiToAsgi)
    return None, None


ADAPTERS: dict[AdapterName, tuple[Callable[[Any], Any], tuple[int | None, int | None], str]] = {
    "bridge": (_of_bridge, (3, 7), "adapter bridge, 3 threads"),
    "a2wsgi": (_of_a2wsgi, (3, None), "adapter a2wsgi, 3 threads"),
    "asgiref": (_of_asgiref, (None, None), "adapter asgiref, one request at a time"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_settings_reach_the_adapter_of_a_worker_process(adapter: AdapterName) -> None:
    look, expected, description = ADAPTERS[adapter]
    settings = ServeSettings(
        f"{KINDS}:wsgi", adapter=adapter, threads=3, streams=7, health_live=None, health_ready=None
    )
    application = make_application(pickle.loads(pickle.dumps(settings)))
    assert look(application.asgi) == expected
    assert application.description == f"WSGI app '{KINDS}:wsgi' · {description}"
