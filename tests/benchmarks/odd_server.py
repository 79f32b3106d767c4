"""Servers that do not do what they should: `python -m tests.benchmarks.odd_server KIND HOST PORT`.

And one that does, for a program to call.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from wsgiref.simple_server import make_server
from wsgiref.types import WSGIApplication

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

# What the request of a number is answered with; None is the end of the connection. The first request is the
# one whose answer is looked at.
KINDS: Mapping[str, Callable[[int], bytes | None]] = {
    "good": lambda number: HELLO,
    "third": lambda number: ERROR if number % 3 == 0 else HELLO,
    "once": lambda number: HELLO if number == 1 else None,
    "closes": lambda number: None,
    "short": lambda number: SHORT,
    "error": lambda number: ERROR,
}


async def serve(kind: str, host: str, port: int) -> None:
    number = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                number += 1
                response = KINDS[kind](number)
                if response is None:
                    return
                writer.write(response)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port)
    await server.serve_forever()


def run(app: WSGIApplication, host: str, port: int) -> None:
    make_server(host, port, app).serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "ends":
        print("a first line", "no such luck", sep="\n", file=sys.stderr)
        sys.exit(3)
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
