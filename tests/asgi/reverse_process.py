"""A process that answers requests by `ASGIToWSGI`, and forks, or ends while the app is still at work.

Run by a test, as `python -m tests.asgi.reverse_process fork`; its lines of output are what the test reads.
"""

import asyncio
import os
import sys
from typing import Any

from bridge import ASGIToWSGI
from tests.asgi.test_scope import environ_with

parent = os.getpid()


def say(what: str) -> None:
    print(f"{'parent' if os.getpid() == parent else 'child'}: {what}", flush=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        say("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("stopped")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
    if scope["path"] == "/after":
        await asyncio.sleep(0.2)
        say("after the response")


def ask(adapter: ASGIToWSGI, path: str = "/") -> None:
    chunks: Any = adapter(environ_with(PATH_INFO=path), lambda status, headers, exc_info=None: print)
    say(b"".join(chunks).decode())
    chunks.close()


def main() -> None:
    adapter = ASGIToWSGI(app)
    if sys.argv[1] == "exit":
        ask(adapter, "/after")
        return
    ask(adapter)
    child = os.fork()
    if child == 0:
        ask(adapter)
        return
    os.waitpid(child, 0)
    ask(adapter)


if __name__ == "__main__":
    main()
