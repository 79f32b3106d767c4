"""The ASGI side: of the adapter's rooms, only this one knows scopes and events.

- `WSGIToASGI` is the application, `ASGIHost` its host as runners see one; `environ` makes an environ of a
  scope.
- Everything runs on the event loop's thread, except `ScopeView` and `prepare_file`, which run where the app
  does, and the closing of pools, which runs wherever an adapter is dropped. There is no lock.
- What waiting for a call means belongs to `runners`, PEP 3333 to `core`, Flask to `flask`.
"""
