"""A process that serves a request, forks, and serves one in the child and one more in the parent.

Run by a test, as `python -m tests.conformance.forking`; its lines of output are what the test reads.
"""

import asyncio
import os
import sys

from bridge import WSGIToASGI
from tests.conformance.apps import hello
from tests.conformance.exchange import Exchange


def main() -> int:
    adapter = WSGIToASGI(hello)
    _serve(adapter, "parent")
    child = os.fork()
    if child == 0:
        _serve(adapter, "child")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    _serve(adapter, "parent again")
    return os.waitstatus_to_exitcode(status)


def _serve(adapter: WSGIToASGI, who: str) -> None:
    reply = asyncio.run(Exchange(adapter).run())
    print(f"{who}: {reply.body.decode()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
