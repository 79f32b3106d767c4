"""The runners of a call, and what waiting means to each: a worker thread, a greenlet on the event loop.

- A runner knows its host by the protocol `Host`. Nothing here knows ASGI, HTTP or Flask.
- Code runs on the event loop's thread, unless it says otherwise. Other threads enter through `ThreadLink`,
  `LoopSide`, `Job`, `WorkerPool`, `Mailbox.post`, `LoopAccess`, and `read` and `send` of a `GreenletLink`.
- Two kinds of lock guard data: a `ThreadLink`'s what its two sides share, a `WorkerPool`'s its queue and its
  workers. Code that holds one takes no other and calls no app; only the garbage collector may break in.
"""
