"""Who runs a call, and what waiting means there: a worker thread, or a greenlet on the event loop.

- A runner knows a host only by the protocol `Host`. Nothing here knows ASGI or Flask.
- Code runs on the event loop's thread, unless it says otherwise. Other threads come in by `ThreadLink`,
  `LoopSide`, `Job`, `WorkerPool`, `Mailbox.post`, `LoopAccess`, and a `GreenletLink`'s `read` and `send`.
- Two kinds of lock guard data: a `ThreadLink`'s what its two sides share, a `WorkerPool`'s its queue and its
  workers. Whoever holds one takes no other and calls no app; only the garbage collector may do so.
"""
