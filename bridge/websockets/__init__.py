"""A websocket that a WSGI app serves: its states, what reads it, and the socket that a library gets.

- `host` is an ASGI host's websocket, `pair` joins a library's socket to it, `link` an async handler.
- `states` and `protocol` are pure. What the handler sees of a websocket belongs to `flask`.
- All else runs on the event loop's thread, except `WebSocketCall.__call__` and `call_app`, which a worker
  calls. There is no lock: a worker reads the websocket's state and leaves every change to the loop.
"""
