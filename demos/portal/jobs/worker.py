"""The worker: a task on the server's event loop, which has each step done in a thread."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeVar

from flask import Flask

from demos.portal.jobs import queue, reminders, report

__all__ = ["lifespan", "work"]

# To be imported is what makes a kind known.
KNOWN = (reminders, report)

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


async def lifespan(app: Flask) -> AsyncIterator[dict[str, object]]:
    """Have workers as long as the server; at its end each finishes its step, and gives its job back."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as workers:
        for _ in range(app.config["JOB_WORKERS"]):
            workers.create_task(work(app, stopping))
        try:
            yield {"app": app}
        finally:
            stopping.set()


async def work(app: Flask, stopping: asyncio.Event) -> None:
    """Do one job after the other, until told to stop."""
    name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
    while not stopping.is_set():
        try:
            job_id = await _in_thread(app, queue.claim, name)
            if job_id is None:
                await _pause(stopping, app.config["JOB_POLL_SECONDS"])
            else:
                await _run(app, job_id, name, stopping)
        except Exception:
            logger.exception("the worker cannot reach its queue; it tries again in 5 s")
            await _pause(stopping, 5)


async def _run(app: Flask, job_id: int, name: str, stopping: asyncio.Event) -> None:
    try:
        while await _in_thread(app, queue.run_step, job_id, name):
            await _pause(stopping, app.config["JOB_STEP_PAUSE"])
            if stopping.is_set():
                await _in_thread(app, queue.give_back, job_id, name)
                return
    except Exception as error:  # whatever the step raised; it is kept in the row
        logger.debug("job %d failed", job_id, exc_info=True)
        await _in_thread(app, queue.fail, job_id, name, error)


async def _in_thread(app: Flask, function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call what waits for the database, with a session of its own that ends with it."""

    def call() -> _Result:
        with app.app_context():
            return function(*arguments)

    return await asyncio.to_thread(call)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
