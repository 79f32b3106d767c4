"""One suite for every app with websockets, on every host that has them.

A subclass of `WebSocketSuite` in a test module names the app that is held to it. It has these websockets.
Each accepts the subprotocol `chat` if it is offered, and sets the cookie `room=blue` when it accepts.

| path | what it does |
| --- | --- |
| `/echo` | sends back what comes |
| `/watched/<key>` | the same; its end is noted under this key |
| `/ended/<key>` | waits for that end, sends its code and its reason as a JSON array, and echoes |
| `/headers` | sends a JSON object: `headers` of the handshake with names in lower case, and `query`; echoes |
| `/closes/<code>` | after a message, closes with this code and the reason `as you wish ✓` |
| `/denied` | answers 401 with `WWW-Authenticate: Basic` and the body `who are you?` |
| `/denied-in-parts` | the same, but gives the host its body in two parts |
| `/fails` | raises before it accepts |
| `/breaks` | raises after a message |
| `/returns` | accepts, sends `the last one`, and returns |
| anything else | is refused: 403 |
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from tests.websockets.hosts import MAX_SIZE, WEBSOCKET_HOSTS, Manners, ServingHost

__all__ = ["WebSocketSuite"]

MESSAGES = {
    "text": "Grüße ✓",
    "bytes": b"\x00\xff",
    "5 MB of text": "✓" * 1_666_667,
    "5 MB of bytes": b"\xff" * 5_000_000,
    "many": ["one", b"two", "three"] * 100,
}


# The message, and the code that RFC 6455 has for it.
BAD_INPUT = {"too large": (bytes(MAX_SIZE + 1), 1009), "not UTF-8": (b"\xff", 1007)}


class WebSocketSuite:
    app: ClassVar[str]
    """Where the app is: `module:name`."""

    missing: ClassVar[int] = 403
    """The status of what has no websocket."""

    returned: ClassVar[dict[str, int]]
    """By host, the code that a client gets when the app returns without a close."""

    changed: ClassVar[dict[str, dict[str, Any]]] = {}
    """By host, those of its manners that are not so with this app, as the app sees to it itself."""

    @pytest.fixture
    def manners(self, name: str) -> Manners:
        return replace(WEBSOCKET_HOSTS[name].manners, **self.changed.get(name, {}))

    @pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
    async def test_echo(self, served: ServingHost, message: Any) -> None:
        messages = message if isinstance(message, list) else [message]
        async with served.connect("/echo") as ws:
            for sent in messages:
                await ws.send(sent)
            for sent in messages:
                assert (await ws.recv()) == sent

    @pytest.mark.parametrize("message", ["", b""])
    async def test_empty_messages(self, served: ServingHost, manners: Manners, message: str | bytes) -> None:
        async with served.connect("/echo") as ws:
            await ws.send(message)
            await ws.send("next")
            if manners.sends_empty_messages:
                assert (await ws.recv()) == message
            assert (await ws.recv()) == "next"

    async def test_fragments_are_one_message(self, served: ServingHost) -> None:
        async with served.connect("/echo") as ws:
            await ws.send(["Grü", "", "ße"])
            assert (await ws.recv()) == "Grüße"

    @pytest.mark.parametrize(
        ("offered", "chosen"), [((), None), (("a",), None), (("a", "chat"), "chat")], ids=str
    )
    async def test_subprotocols(
        self, served: ServingHost, offered: tuple[str, ...], chosen: str | None
    ) -> None:
        async with served.connect("/echo", *offered) as ws:
            assert ws.subprotocol == chosen

    async def test_the_handshake(self, served: ServingHost, manners: Manners) -> None:
        async with served.connect("/headers?q=%C3%BC", cookie="k=v", x_from="suite") as ws:
            seen = json.loads(await ws.recv())
            assert ws.response is not None
            assert ("room=blue" in ws.response.headers.get("set-cookie", "")) == manners.sends_accept_headers
        assert seen["query"] == "q=%C3%BC"
        assert seen["headers"]["cookie"] == "k=v"
        assert seen["headers"]["x-from"] == "suite"
        assert seen["headers"]["host"] == f"127.0.0.1:{served.port}"

    @pytest.mark.parametrize("path", ["/denied", "/denied-in-parts"])
    async def test_a_denial(self, served: ServingHost, manners: Manners, path: str) -> None:
        refusal = await self.refusal(served, path)
        if not manners.has_denial:
            assert refusal.status_code == 403
        elif path == "/denied-in-parts" and not manners.takes_denial_in_parts:
            assert refusal.status_code == manners.failed
        else:
            assert (refusal.status_code, refusal.headers["www-authenticate"]) == (401, "Basic")
            assert refusal.body == b"who are you?"

    async def test_what_is_not_there(self, served: ServingHost, manners: Manners) -> None:
        expected = self.missing if manners.has_denial else 403
        assert (await self.refusal(served, "/missing")).status_code == expected

    async def test_an_app_that_fails_before_it_accepts(self, served: ServingHost, manners: Manners) -> None:
        assert (await self.refusal(served, "/fails")).status_code == manners.failed

    async def test_an_app_that_breaks(self, served: ServingHost, manners: Manners) -> None:
        async with served.connect("/breaks") as ws:
            await ws.send("go on")
            assert (await self.end(ws))[0] == manners.broke

    async def test_an_app_that_returns(self, served: ServingHost, name: str) -> None:
        if name not in self.returned:
            pytest.skip("this host leaves the websocket open")
        async with served.connect("/returns") as ws:
            assert (await ws.recv()) == "the last one"
            assert (await self.end(ws))[0] == self.returned[name]

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
    async def test_the_app_closes(self, served: ServingHost, manners: Manners, code: int) -> None:
        async with served.connect(f"/closes/{code}") as ws:
            await ws.send("go on")
            if code in manners.cannot_close_with:
                assert (await self.end(ws))[0] == manners.broke
            else:
                assert await self.end(ws) == (code, "as you wish ✓" if manners.sends_reason else "")

    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
    async def test_the_client_closes(self, served: ServingHost, manners: Manners, code: int) -> None:
        async with served.connect(f"/watched/{code}") as ws:
            await ws.send("here")
            assert (await ws.recv()) == "here"
            await ws.close(code, "had enough ✓")
        expected = [
            code if manners.tells_code else manners.vanished,
            "had enough ✓" if manners.tells_reason else "",
        ]
        assert await self.end_that_the_app_saw(served, str(code)) == expected

    async def test_the_client_vanishes(self, served: ServingHost, manners: Manners) -> None:
        async with served.connect("/watched/vanished") as ws:
            await ws.send("here")
            assert (await ws.recv()) == "here"
            ws.transport.abort()
        assert await self.end_that_the_app_saw(served, "vanished") == [manners.vanished, ""]

    @pytest.mark.parametrize(("message", "code"), BAD_INPUT.values(), ids=BAD_INPUT)
    async def test_bad_input(self, served: ServingHost, manners: Manners, message: bytes, code: int) -> None:
        async with served.connect(f"/watched/bad-{code}") as ws:
            with suppress(ConnectionClosed):  # the host need not read all of it
                await ws.send(message, text=code == 1007)
            assert (await self.end(ws))[0] == (manners.too_large if code == 1009 else manners.not_utf8)
        end = await self.end_that_the_app_saw(served, f"bad-{code}")
        assert end[0] == (code if manners.tells_of_bad_input else manners.vanished)

    async def test_many_at_once(self, served: ServingHost) -> None:
        async def talk(number: int) -> None:
            async with served.connect("/echo") as ws:
                for message in (f"{number}-{turn}" for turn in range(10)):
                    await ws.send(message)
                    assert (await ws.recv()) == message

        await asyncio.gather(*(talk(number) for number in range(30)))

    async def test_the_host_stops(self, name: str, manners: Manners) -> None:
        with WEBSOCKET_HOSTS[name](self.app) as served:
            async with served.connect("/echo") as ws:
                await ws.send("here")
                assert (await ws.recv()) == "here"
                served.begin_to_stop()
                if manners.stopped is not None:
                    assert (await self.end(ws))[0] == manners.stopped
            await asyncio.to_thread(served.join)

    async def end(self, ws: ClientConnection) -> tuple[int, str]:
        """How the host ends the websocket; it sends no message before."""
        with pytest.raises(ConnectionClosed) as ended:
            async with asyncio.timeout(10):
                await ws.recv()
        close = ended.value.rcvd
        return (int(close.code), close.reason) if close else (CloseCode.ABNORMAL_CLOSURE, "")

    async def end_that_the_app_saw(self, served: ServingHost, key: str) -> Any:
        async with served.connect(f"/ended/{key}") as ws, asyncio.timeout(10):
            return json.loads(await ws.recv())

    async def refusal(self, served: ServingHost, path: str) -> Any:
        """The response to a handshake that is refused."""
        with pytest.raises(InvalidStatus) as refused:
            async with served.connect(path):
                pass
        return refused.value.response
