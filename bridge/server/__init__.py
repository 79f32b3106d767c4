"""`bridge serve`: a WSGI or ASGI app on uvicorn's server and Bridge's own HTTP, from the command line.

- `cli` is the command; its options and the settings behind them come from `options` and `settings`.
- `application` has the app loaded (`bridge.loading`) and adapts it, `serving` sets uvicorn up with all of it.
- The rooms: `hooks` for what is done for each request, `processes`, and `websockets`.
- Nothing here knows how a call is made, or what HTTP looks like on the wire.
"""
