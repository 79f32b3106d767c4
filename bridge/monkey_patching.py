"""Tells whether gevent or eventlet has patched this process, and what that breaks."""

import sys

__all__ = ["describe_monkey_patching"]

# Modules whose patched versions fail outside the main thread: gevent gives each thread a loop of its own
# (gevent 26: "child watchers are only available on the default loop"; a queue belongs to one thread).
_FAILING_IN_THREADS = ("queue", "subprocess")


def describe_monkey_patching() -> str | None:
    """Return what will hang or fail; None if nothing will.

    It imports neither library: one that nobody has imported has patched nothing.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        if monkey.is_module_patched("threading"):
            return _of_threads("gevent")
        failing = [name for name in _FAILING_IN_THREADS if monkey.is_module_patched(name)]
        if failing:
            return (
                f"gevent has replaced {' and '.join(failing)} in this process, which fail in threads, "
                "where plain views run; leave monkey patching out"
            )
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return _of_threads("eventlet")
    return None


def _of_threads(library: str) -> str:
    return (
        f"{library} has replaced this process's threads by its own, which share the event loop's thread: "
        "a plain view hangs or fails as soon as it waits, as for a socket, a lock, time.sleep() or the "
        "request's body, and may hold up the end of the server; leave monkey patching out, as here threads "
        "do the waiting"
    )
