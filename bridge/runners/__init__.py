"""Who runs a call, and what waiting means there: a worker thread, or a greenlet on the event loop.

- A runner knows a host by `next` and `send` only; nothing here knows ASGI, HTTP or Flask.
- `ThreadLink` is where two threads meet. All else belongs to the event loop's thread, unless it says
  otherwise.
- A thread holds one lock at a time, and calls nothing of the app's while it holds it.
"""
