"""The ASGI side: scopes and events of http and lifespan; those of websockets are in `websockets.host`.

- `WSGIToASGI` is the application, `ASGIHost` its host as runners see one; `environ` makes an environ of a
  scope.
- Everything runs on the event loop's thread, except `ScopeView` and `prepare_file`, which run where the app
  does, and the closing of pools, which runs wherever an adapter is dropped. There is no lock.
- What waiting for a call means belongs to `runners`, PEP 3333 to `core`, Flask to `flask`.
"""
