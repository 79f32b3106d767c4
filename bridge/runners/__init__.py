"""The runners of a call, and what waiting means to each: a worker thread, a greenlet on the event loop.

- A runner knows its host by the protocol `Host`. Nothing here knows ASGI, HTTP or Flask.
- Code runs on the event loop's thread, unless it says otherwise. Other threads enter through `ThreadLink`,
  `LoopSide`, `Job`, `WorkerPool`, `Mailbox.post`, `LoopAccess`, and `read` and `send` of a `GreenletLink`.
- Code that holds a lock takes no other and calls no app; only the garbage collector may break in.

What threads share, and what guards it, also without the global interpreter lock:

- `ThreadLink`, parts, pieces of the body and the end: its lock.
- `WorkerPool`, its queue and counts, and `job` and `counted` of its workers: its lock.
- `Mailbox`, the links to wake: the lock within its deque; see there.
- `LoopAccess`, `_left` and `_own`: `_leaving`, one lock for all calls.
- `CallContext`, the variables of a call: nothing. Until the call ends, only the thread that runs in it reads
  or copies it.
- `Offload` and `OneThread`, a function and its result: nothing. One side has them at a time, and handing them
  over orders the two.
- `Engine`, `Streams`, greenlets: nothing. They belong to one loop; the watch looks at a copy of the busy.
- `is_told`, `worker`, `_is_posted`: nothing. They are flags, and an old value costs one more look.
"""
