"""A Flask app with async websockets, one for each thing that may happen to them."""

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, g, request, session, url_for

from bridge.errors import BridgeError, WebSocketDisconnect
from bridge.flask import Bridge, WebSocket


def make_app() -> Flask:
    """What happens in the handlers is in `app.config["SEEN"]`, a queue of the loop that serves."""
    app = Flask(__name__)
    app.secret_key = "a key of the tests"
    app.config["SEEN"] = seen = []
    bridge = Bridge(app)
    admin = Blueprint("admin", __name__, url_prefix="/admin")

    @app.before_request
    async def authorize() -> Response | None:
        g.user = request.args.get("user", "nobody")
        if request.args.get("deny") == "hook":
            return Response("not in here", 401, {"X-Hook": "yes"})
        return None

    @app.teardown_request
    async def note_teardown(error: BaseException | None) -> None:
        seen.append("teardown")

    @app.errorhandler(404)
    async def not_found(error: Exception) -> tuple[str, int]:
        return "no such room", 404

    @app.get("/")
    async def index() -> str:
        return url_for("chat", room=7, _external=True)

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @bridge.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)
        assert ws.closed

    @bridge.websocket("/chat/<int:room>")
    async def chat(ws: WebSocket, room: int) -> None:
        if room == 0:
            abort(404)
        session["room"] = room
        await ws.send_json({"user": g.user, "room": room, "path": request.path, "here": url_for("echo")})
        await ws.send_json({"got": await ws.receive_json()})

    @bridge.websocket("/protocol")
    async def protocol(ws: WebSocket) -> None:
        await ws.accept(subprotocol=ws.subprotocols[-1], headers={"X-Said": "yes"})
        await ws.close(3001, "as agreed")

    @bridge.websocket("/times")
    async def times(ws: WebSocket) -> None:
        """Does what it is told, and says what that raises."""
        steps: dict[str, Callable[[], Any]] = {
            "accept": ws.accept,
            "close": ws.close,
            "two receivers": lambda: two_receivers(ws),
            "send an int": lambda: ws.send(1),  # type: ignore[arg-type]  # wrong on purpose
            "close with 1005": lambda: ws.close(1005),
            "long reason": lambda: ws.close(1000, "ü" * 62),
            "host's field": lambda: ws.accept(headers=[("Sec-WebSocket-Protocol", "x")]),
            "strange protocol": lambda: ws.accept(subprotocol="strange"),
            "bad field": lambda: ws.accept(headers={"X": "a\r\nb: c"}),
        }
        step = request.args["step"]
        try:
            if request.args.get("early") is None:
                await ws.accept()
            await steps[step]()
        except (BridgeError, TypeError, ValueError) as error:
            await ws.send(f"{type(error).__name__}: {error}")

    async def two_receivers(ws: WebSocket) -> None:
        first = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        try:
            await ws.receive()
        finally:
            first.cancel()
            await asyncio.wait([first])

    @bridge.websocket("/leaves")
    async def leaves(ws: WebSocket) -> str | None:
        match request.args["how"]:
            case "returns":
                return None
            case "answers":
                return "go away"
            case "raises":
                raise ValueError("on purpose")
            case "refuses":
                await ws.close()
            case "raises after":
                await ws.accept()
                raise ValueError("on purpose")
            case "aborts after":
                await ws.accept()
                abort(403)
            case "returns after":
                await ws.accept()
        return None

    @bridge.websocket("/waits")
    async def waits(ws: WebSocket) -> None:
        """Never receives."""
        await ws.send("here")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    @bridge.websocket("/group")
    async def group(ws: WebSocket) -> None:
        async def read() -> None:
            while True:
                await ws.send(await ws.receive())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            tasks.create_task(asyncio.sleep(60))

    @bridge.websocket("/reader")
    async def reader(ws: WebSocket) -> None:
        """One task receives, and swallows the end; the handler waits for something else."""

        async def read() -> None:
            async for message in ws:
                await ws.send(message)
            seen.append("reader has ended")

        await ws.accept()
        reading = asyncio.create_task(read())
        try:
            await asyncio.Event().wait()
        finally:
            await reading
            seen.append("handler has ended")

    @bridge.websocket("/slow")
    async def slow(ws: WebSocket) -> None:
        """Takes a message now and then."""
        await ws.accept()
        while True:
            await asyncio.sleep(float(request.args["pause"]))
            try:
                async with asyncio.timeout(float(request.args["pause"])):
                    await ws.send(await ws.receive())
            except TimeoutError:
                await ws.send("nothing")

    @bridge.websocket("/collects")
    async def collects(ws: WebSocket) -> None:
        """Takes its time for each message, and never sends."""
        await ws.accept()
        await asyncio.sleep(0.2)
        async for message in ws:
            seen.append(str(message))
            await asyncio.sleep(0.2)
        seen.append("all")

    @bridge.websocket("/cleans")
    async def cleans(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except WebSocketDisconnect as error:
            await asyncio.sleep(0.3)
            seen.append(f"{error.code} {error.reason}")
            raise

    @bridge.websocket("/crowd")
    async def crowd(ws: WebSocket) -> None:
        await asyncio.gather(*(ws.send(str(number)) for number in range(20)))

    @bridge.websocket("/decorated")
    @logged
    async def decorated(ws: WebSocket) -> None:
        await ws.send("decorated")

    @bridge.websocket("/room", blueprint=admin)
    async def room(ws: WebSocket) -> None:
        await ws.send(request.blueprint or "")

    app.register_blueprint(admin)
    return app


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """As many of Flask's extensions decorate a view: with a plain function that calls `ensure_sync`."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "no" in request.args:
            abort(401)
        return current_app.ensure_sync(function)(*args, **kwargs)

    return call
