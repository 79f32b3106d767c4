"""PEP 3333: one call of a WSGI app, independent of the runner and of the host.

- A `Call` goes in steps; a `Link` is how it reads and sends. Heads and bytes pass between them, no events.
- Nothing here starts a thread, or knows asyncio, ASGI or a socket. Each function runs where its caller runs.
- An object belongs to one call, and one thread at a time uses it. All calls share a few bounded tables, of
  what has passed the checks or was logged. Nobody locks them; at worst two threads write the same entry.
"""
