"""Hooks of a server's exchanges: each sees to one thing for every request, of WSGI and ASGI apps alike.

- `forwarded`, `health`, `request_id` and `request_timeout` may change or answer a request; `access_log`,
  `metrics` and `server_timing` only watch. `http.exchange` says when each is called.
- Hooks run on the event loop's thread, and must not block it. They know `http`, not the command line.
- `metrics_endpoint` serves the figures of all processes, by a listener of its own.
"""
