"""The ASGI side: scopes and events of http and lifespan; those of websockets are in `websockets.host`.

- `WSGIToASGI` is the application, `ASGIHost` its host as runners see one; `environ` makes an environ of a
  scope.
- Everything runs on the event loop's thread, except `ScopeView` and `prepare_file`, which run where the app
  does, and the closing of pools, which runs wherever an adapter is dropped.
- Several loops may serve one adapter, each in its thread. A `LoopState` belongs to one of them. The adapter's
  lock guards which loops there are, and the search for a Flask app's views; both are replaced as a whole, so
  readers need no lock.
- `ASGIToWSGI`: `starting()` is held while an app starts or ends, a `_Life`'s `taking` while parts are taken.
  Items and the body's pieces pass through a `SimpleQueue` and a deque, which have locks of their own.
- What waiting for a call means belongs to `runners`, PEP 3333 to `core`, Flask to `flask`.
"""
