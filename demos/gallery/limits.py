"""What a visitor may send."""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
LARGEST_MESSAGE = 64 * 1024  # of a websocket
TOO_BIG = 1009  # RFC 6455, section 7.4.1


class Limited:
    """Lets through to an ASGI app only known methods, and bodies and messages of a limited size.

    Args:
        app: the app.
        largest_body: in bytes. More is refused with 413: at once if the request says its length, otherwise
            as soon as more has arrived.
    """

    def __init__(self, app: ASGIApp, largest_body: int) -> None:
        self._app = app
        self._largest_body = largest_body
        self._too_large = PlainTextResponse(
            f"The body is too large: {largest_body:,} bytes are the limit.\n", 413, {"Connection": "close"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._app(scope, _limit_messages(receive, send), send)
        elif scope["method"] not in METHODS:
            allowed = {"Allow": ", ".join(METHODS), "Connection": "close"}
            await PlainTextResponse("This method is not allowed here.\n", 405, allowed)(scope, receive, send)
        elif int(Headers(scope=scope).get("Content-Length", 0)) > self._largest_body:
            await self._too_large(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; when too much arrives, answer in its place, and tell it that the client has left."""
        received = 0
        is_answered = is_refused = False

        async def receive_counted() -> Message:
            nonlocal received, is_refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self._largest_body:
                return message
            if not is_refused:
                is_refused = True
                if not is_answered:
                    await self._too_large(scope, receive, send)
            return {"type": "http.disconnect"}

        async def send_unless_refused(message: Message) -> None:
            nonlocal is_answered
            if is_refused:
                raise OSError("the body is too large, and is refused already")
            is_answered = True
            await send(message)

        await self._app(scope, receive_counted, send_unless_refused)


def _limit_messages(receive: Receive, send: Send) -> Receive:
    async def receive_limited() -> Message:
        message = await receive()
        if len(message.get("text") or message.get("bytes") or "") <= LARGEST_MESSAGE:
            return message
        await send({"type": "websocket.close", "code": TOO_BIG})
        return {"type": "websocket.disconnect", "code": TOO_BIG}

    return receive_limited
