"""The fixtures of the suite: each host, once for each app."""

from collections.abc import Iterator

import pytest

from tests.websockets.hosts import WEBSOCKET_HOSTS, ServingHost


@pytest.fixture(scope="class", params=WEBSOCKET_HOSTS)
def name(request: pytest.FixtureRequest) -> str:
    """Of a host; each test of a `WebSocketSuite` runs on every one."""
    return str(request.param)


@pytest.fixture(scope="class")
def served(request: pytest.FixtureRequest, name: str) -> Iterator[ServingHost]:
    """That host, while it serves the app of the class."""
    with WEBSOCKET_HOSTS[name](request.cls.app) as served:
        yield served
