"""PEP 3333: one call of a WSGI app, whoever runs it and whoever is at the other end.

- A `Call` goes in steps, a `Link` is how it reads and sends; heads and bytes pass between them, no events.
- Nothing here starts a thread, knows asyncio, ASGI or a socket. Each function runs where its caller runs.
- An object belongs to one call, and one thread at a time uses it. The tables of names that have passed the
  checks are shared: dicts of immutable values, bounded, written without a lock, at worst twice.
"""
