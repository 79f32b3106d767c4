"""A Flask app on every ASGI host: one suite, and a table of what came of it."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import httpx
import pytest

from tests.end_to_end.apps import flask_app
from tests.end_to_end.hosts import FEATURES, HOSTS, PAGE, UNABLE, page
from tests.websockets.hosts import ServingHost

APP = "tests.end_to_end.apps.flask_app:app"
SOURCE = Path(flask_app.__file__).read_text()
WAIT = 2.5  # seconds after which what has not happened will not
SECONDS = 15.0  # for anything to happen on a busy machine


@pytest.fixture(scope="module", params=HOSTS)
def named(request: pytest.FixtureRequest) -> Iterator[tuple[str, ServingHost]]:
    with HOSTS[request.param](APP) as serving:
        yield request.param, serving


@contextlib.asynccontextmanager
async def client_of(named: tuple[str, ServingHost], seconds: float) -> AsyncIterator[httpx.AsyncClient]:
    name, serving = named
    is_2 = name.endswith("HTTP/2")
    url = f"http://127.0.0.1:{serving.port}"
    async with httpx.AsyncClient(base_url=url, http1=not is_2, http2=is_2, timeout=seconds) as client:
        yield client


async def lines_of(client: httpx.AsyncClient, path: str) -> list[str]:
    """The first three lines of a stream, which is left then."""
    async with client.stream("GET", path) as answer:
        lines: Any = answer.aiter_lines()
        found = [await anext(lines) for _ in range(3)]
        await lines.aclose()
    return found


async def state(client: httpx.AsyncClient) -> None:
    assert (await client.get("/state")).text == "a pool"


async def path(client: httpx.AsyncClient) -> None:
    assert (await client.get("/path/caf%C3%A9/%ff")).text == repr(b"/path/caf\xc3\xa9/\xff")


async def stream(client: httpx.AsyncClient) -> None:
    assert await lines_of(client, "/ticks") == ["tick 0", "tick 1", "tick 2"]


async def leave(client: httpx.AsyncClient) -> None:
    await stream(client)
    assert (await client.get("/ended", params={"seconds": client.timeout.read or 0})).text == "True"


async def events(client: httpx.AsyncClient) -> None:
    assert await lines_of(client, "/events") == ["data: 0", "", "data: 1"]
    assert (await client.get("/ended", params={"seconds": client.timeout.read or 0})).text == "True"


PARTS = [b"x" * 50_000] * 20


async def parts() -> AsyncIterator[bytes]:
    for each in PARTS:
        yield each


async def upload(client: httpx.AsyncClient) -> None:
    found = json.loads((await client.post("/upload", content=b"".join(PARTS))).text)
    assert found["size"] == 1_000_000
    assert found["pieces"] > 1


async def chunked(client: httpx.AsyncClient) -> None:
    found = json.loads((await client.post("/upload", content=parts())).text)
    assert found["size"] == 1_000_000
    assert found["pieces"] > 1


async def file(client: httpx.AsyncClient) -> None:
    assert (await client.get("/file")).text == SOURCE


async def memory(client: httpx.AsyncClient) -> None:
    assert len((await client.get("/memory")).content) == 3_000_000


async def fail(client: httpx.AsyncClient) -> None:
    assert (await client.get("/fail")).status_code == 500
    assert (await client.get("/state")).status_code == 200


async def cut(client: httpx.AsyncClient) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await client.get("/fail-late")


async def cookies(client: httpx.AsyncClient) -> None:
    assert (await client.get("/cookies")).headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]


async def hints(client: httpx.AsyncClient) -> None:
    port = client.base_url.port
    assert port is not None
    is_2 = (await client.get("/state")).http_version == "HTTP/2"
    async with asyncio.timeout(client.timeout.read):
        found = await (statuses_of_2(port, "/hints") if is_2 else statuses_of_1(port, "/hints"))
    assert found == [103, 200]


async def statuses_of_1(port: int, path: str) -> list[int]:
    """The statuses of one answer, interim ones included, which httpx drops."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answers = (await reader.read()).decode()
    return [int(status) for status in re.findall(r"^HTTP/1\.1 (\d+)", answers, re.MULTILINE)]


async def statuses_of_2(port: int, path: str) -> list[int]:
    found: list[int] = []
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    fields = {":method": "GET", ":path": path, ":scheme": "http", ":authority": "a"}
    connection.send_headers(1, list(fields.items()), end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        while found[-1:] != [200] and found[-1:] != [500]:
            writer.write(connection.data_to_send())
            events = connection.receive_data(await reader.read(65536))
            for each in events:
                if isinstance(each, h2.events.InformationalResponseReceived | h2.events.ResponseReceived):
                    found += [int(value) for name, value in each.headers if name in (":status", b":status")]
    return found


async def at_once(client: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(client.get("/wait") for _ in range(40)))
    assert {answer.text for answer in answers} != set()
    assert all(answer.status_code == 200 for answer in answers)
    assert loop.time() - began < 3.0  # four threads would take three seconds


TESTS = {each.__name__: each for each in (state, path, stream, leave, events, upload, chunked, file)}
TESTS |= {each.__name__: each for each in (memory, fail, cut, cookies, hints)}
TESTS["async"] = at_once


@pytest.mark.parametrize("feature", FEATURES)
async def test_a_feature(named: tuple[str, ServingHost], feature: str) -> None:
    why = UNABLE.get((named[0], feature))
    async with client_of(named, SECONDS if why is None else WAIT) as client:
        if why is None:
            await TESTS[feature](client)
        else:
            with pytest.raises((AssertionError, httpx.HTTPError, pytest.fail.Exception)):
                await TESTS[feature](client)


def test_the_page_says_what_these_tests_say() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.end_to_end.hosts"
