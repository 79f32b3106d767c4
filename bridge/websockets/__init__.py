"""A websocket that a WSGI app serves: its states, what reads it, and the socket that a library gets.

- No event of ASGI and no frame of the client's appears here; `states` knows the events by name only.
- `states` and `protocol` are pure.
- All else runs on the event loop's thread, except `WebSocketCall.__call__` and `call_app`, which a worker
  calls. There is no lock: a worker reads the websocket's state and leaves every change to the loop.
"""
