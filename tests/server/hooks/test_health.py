"""`bridge.server.hooks.health`: what is answered, when, and that nothing else is touched."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.server.hooks.health import Health
from tests.server.command import Serving
from tests.server.exchanges import Driven, make_request, part_of

LIVE, READY = "/-/health/live", "/-/health/ready"

Said = tuple[int, str]


def health(**options: Any) -> Health:
    return Health(**{"live": LIVE, "ready": READY} | options)


async def ask(hook: Health, path: str, method: str = "GET", root_path: str = "") -> Said | None:
    """The answer; None if it is for the app to answer."""
    request = make_request(method, path.encode())
    request.root_path = root_path
    part = await part_of(Driven(hook, request=request).begin())
    if part is None:
        return None
    head, body, more = part
    assert head is not None
    assert not more
    fields = dict(head.headers)
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"cache-control"] == b"no-store"
    assert fields.get(b"allow") == (b"GET, HEAD" if head.status == 405 else None)
    assert method == "HEAD" or fields[b"content-length"] == b"%d" % len(body)
    return head.status, body.decode()


ANSWERS = {
    ("GET", LIVE): (200, '{"status": "live"}'),
    ("GET", READY): (200, '{"status": "ready"}'),
    ("HEAD", LIVE): (200, ""),
    ("HEAD", READY): (200, ""),
    ("POST", READY): (405, '{"status": "method not allowed"}'),
    ("GET", "/-/health/%72eady"): (200, '{"status": "ready"}'),
    ("GET", "/"): None,
    ("GET", "/-/health/"): None,
    ("GET", LIVE + "/"): None,
    ("OPTIONS", "*"): None,
}


@pytest.mark.parametrize(("request_", "answer"), ANSWERS.items())
async def test_answers(request_: tuple[str, str], answer: Said | None) -> None:
    assert await ask(health(), request_[1], request_[0]) == answer


@pytest.mark.parametrize("path", ["/app" + READY, "/%61pp" + READY])
async def test_it_is_below_the_root_path(path: str) -> None:
    assert await ask(health(), path, root_path="/app") == (200, '{"status": "ready"}')
    assert await ask(health(), path) is None


@pytest.mark.parametrize("path", [LIVE, READY])
async def test_a_path_that_is_switched_off_is_the_apps(path: str) -> None:
    assert await ask(health(live=None, ready=None), path) is None


@pytest.mark.parametrize("is_told", [True, False])
async def test_it_is_not_ready_when_it_is_to_stop(is_told: bool) -> None:
    """Whether or not it was told that the app has started."""
    hook = health()
    if is_told:
        hook.started()
    assert await ask(hook, READY) == (200, '{"status": "ready"}')
    hook.drain()
    hook.started()  # a start that ends late
    assert await ask(hook, READY) == (503, '{"status": "draining"}')
    assert await ask(hook, LIVE) == (200, '{"status": "live"}')
    assert await ask(hook, "/") is None


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
    text = '{"status": "ready"}' if status == 200 else '{"status": "failing"}'
    assert await ask(health(check=check), READY) == (status, text)
    assert ("no database" in caplog.text) == ("failing" in check.__name__)
    assert await ask(health(check=check), LIVE) == (200, '{"status": "live"}')


async def test_the_check_is_not_asked_when_it_is_to_stop() -> None:
    asked: list[bool] = []
    hook = health(check=lambda: asked.append(True))
    hook.drain()
    assert await ask(hook, READY) == (503, '{"status": "draining"}')
    assert not asked


def test_it_answers_while_all_threads_are_busy(pipe: Path) -> None:
    with (
        Serving("shop:app", "--port", "0", "--threads", "1") as serving,
        serving.connection() as connection,
    ):
        connection.request("GET", f"/slow?pipe={pipe}")
        with pipe.open("w"):  # waits for the thread
            assert serving.get(READY).status == 200
            assert serving.get(LIVE).status == 200
        assert connection.getresponse().status == 200
