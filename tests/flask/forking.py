"""A process that serves an async view, forks, and serves one that blocks the event loop in the child.

Run by a test, as `python -m tests.flask.forking`; its line of output is what the test reads.
"""

import asyncio
import os
import sys
import time

from flask import Flask

from bridge import WSGIToASGI
from tests.asgi_host import ScriptedHost, http_scope


def main() -> int:
    app = Flask("app")

    @app.get("/")
    async def view() -> str:
        until = time.monotonic() + (5 if os.getpid() != parent else 0)
        while not adapter.blocked and time.monotonic() < until:
            pass
        return "x"

    parent = os.getpid()
    adapter = WSGIToASGI(app)
    asyncio.run(_serve(adapter))
    child = os.fork()
    if child == 0:
        asyncio.run(_serve(adapter))
        print(f"child: {adapter.blocked}", flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


async def _serve(adapter: WSGIToASGI) -> None:
    host = ScriptedHost()
    await adapter(http_scope(), host.receive, host.send)


if __name__ == "__main__":
    sys.exit(main())
