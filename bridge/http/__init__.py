"""HTTP/1.1: the server's own end of a connection, from the socket to the call of the app.

- `request_line`, `limits`, `websocket_handshake` and `http1` are pure: bytes in, a value or a refusal out.
- `reader` finds where each message begins and ends; `connection` owns one socket, and serves one request at a
  time.
- `exchange` is one request and its response, as hooks see it. `serving` is how a connection reaches whoever
  serves the request: `thread_serving` a worker thread, `loop_serving` a task on the event loop.

All of it runs on the event loop's thread, but for what `thread_serving` says that a worker calls. There is no
lock: a worker meets the loop in a `ThreadLink`, and runs in a copy of the exchange's context. Nothing here
knows the command line, settings or Flask.
"""
