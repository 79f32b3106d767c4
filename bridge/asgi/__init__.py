"""ASGI: of the adapter's rooms, only this one knows scopes and events; `websockets.states` has their names.

- `WSGIToASGI` is the application, `ASGIHost` its host as runners see one, `environ` makes an environ of a
  scope.
- Everything runs on the event loop's thread, but for `TimedCall`, `ScopeView` and `prepare_file`, which run
  where the app does, and the closing of pools, where an adapter is dropped. There is no lock.
"""
