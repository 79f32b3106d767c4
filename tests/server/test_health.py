"""`bridge.server.health`: what is answered, when, and that nothing else is touched."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bridge import WSGIToASGI
from bridge.server.health import Health
from bridge.testing import Client

LIVE, READY = "/-/health/live", "/-/health/ready"


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def health(app: Any = hello, **options: Any) -> Health:
    options = {"live": LIVE, "ready": READY} | options
    return Health(WSGIToASGI(app, threads=1), **options)


async def get(app: Any, path: str, method: str = "GET") -> tuple[int, str]:
    async with Client(app) as client:
        response = await client.request(method, path)
    return response.status_code, response.text


ANSWERS = {
    ("GET", LIVE): (200, '{"status": "live"}'),
    ("GET", READY): (200, '{"status": "ready"}'),
    ("HEAD", LIVE): (200, ""),
    ("HEAD", READY): (200, ""),
    ("POST", READY): (405, '{"status": "method not allowed"}'),
    ("GET", "/"): (200, "/"),
    ("GET", "/-/health/"): (200, "/-/health/"),
    ("GET", LIVE + "/"): (200, LIVE + "/"),
}


@pytest.mark.parametrize(("request_", "answer"), ANSWERS.items())
async def test_answers(request_: tuple[str, str], answer: tuple[int, str]) -> None:
    assert await get(health(), request_[1], request_[0]) == answer


@pytest.mark.parametrize("path", [LIVE, READY])
async def test_a_path_that_is_switched_off_is_the_apps(path: str) -> None:
    assert await get(health(live=None, ready=None), path) == (200, path)


async def test_it_is_not_ready_when_it_is_to_stop() -> None:
    app = health()
    async with Client(app) as client:
        assert (await client.get(READY)).status_code == 200
        app.drain()
        assert (await client.get(READY)).text == '{"status": "draining"}'
        assert (await client.get(READY)).status_code == 503
        assert (await client.get(LIVE)).status_code == 200
        assert (await client.get("/")).status_code == 200


def yes() -> bool:
    return True


def nothing() -> None:
    pass


def no() -> bool:
    return False


def failing() -> None:
    raise ConnectionError("no database")


async def later_yes() -> bool:
    return True


async def later_no() -> bool:
    return False


async def later_failing() -> None:
    raise ConnectionError("no database")


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function around any, as of a decorator that knows nothing of async ones."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class LaterNo:
    __name__ = "LaterNo"

    async def __call__(self) -> bool:
        return False


CHECKS: list[tuple[Any, int]] = [
    (yes, 200),
    (nothing, 200),
    (no, 503),
    (failing, 503),
    (later_yes, 200),
    (later_no, 503),
    (later_failing, 503),
    (decorated(later_yes), 200),
    (decorated(later_no), 503),
    (decorated(later_failing), 503),
    (LaterNo(), 503),
]


@pytest.mark.parametrize(("check", "status"), CHECKS, ids=lambda value: getattr(value, "__name__", value))
async def test_the_apps_own_check(check: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    assert (await get(health(check=check), READY))[0] == status
    assert ("no database" in caplog.text) == ("failing" in check.__name__)
    assert (await get(health(check=check), LIVE))[0] == 200


async def test_it_answers_while_all_threads_are_busy() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def busy(environ: Any, start_response: Any) -> list[bytes]:
        begun.set()
        go_on.wait()
        return hello(environ, start_response)

    async with Client(health(busy)) as client, asyncio.TaskGroup() as group:
        group.create_task(client.get("/"))
        await asyncio.to_thread(begun.wait)
        assert (await client.get(READY)).status_code == 200
        assert (await client.get(LIVE)).status_code == 200
        go_on.set()
