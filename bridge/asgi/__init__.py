"""ASGI: all that knows a scope or an event is here.

- `WSGIToASGI` is the application, `ASGIHost` its host as runners see one, `environ` makes an environ of a
  scope.
- Everything runs on the event loop's thread.
"""
