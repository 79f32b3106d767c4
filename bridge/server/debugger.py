"""Werkzeug's debugger around a WSGI app that Bridge serves.

Werkzeug's own `DebuggedApplication` is a generator around the app. Bridge runs generators in a thread, and so
would run the whole app there, its async views, too. Here the app is called at once, where it belongs; its
exceptions are caught then, and while its response is iterated over.

This module imports Werkzeug, and is imported only for --debug.
"""

import logging
import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

from werkzeug.debug import DebuggedApplication
from werkzeug.debug.tbtools import DebugTraceback
from werkzeug.wrappers import Request, Response

from bridge.core.call import comes_from_disconnect
from bridge.core.files import FileWrapper
from bridge.runners.greenlet_link import GreenletLink, LoopIterable
from bridge.server.stand_in import is_name_of_this_machine
from bridge.types import ExcInfo, StartResponse, WSGIApplication, WSGIEnvironment, override

__all__ = ["Debugger"]

logger = logging.getLogger("bridge")

_Page = Callable[[Exception], Iterator[bytes]]


class Debugger(DebuggedApplication):
    """A WSGI application that runs another, and answers its exceptions with a page.

    Whoever knows the PIN can evaluate Python in the page, and at /console, but only by a host that Werkzeug
    trusts: localhost and addresses of loopback.

    Args:
        app: the other application.
        shown: the object that /console calls `app`.
    """

    def __init__(self, app: WSGIApplication, shown: object) -> None:
        super().__init__(app, evalex=True, pin_security=True, console_init_func=lambda: {"app": shown})
        # The count of wrong PINs. A process that a signal ends leaves Werkzeug's behind, with a warning.
        self._failed_pin_auth = multiprocessing.get_context("fork").Value("B")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request to the debugger, or run the app."""
        request = Request(environ)
        if request.args.get("__debugger__") == "yes" or request.path == self.console_path:
            return self._answer(environ, start_response)
        return self._run(environ, start_response)

    def check_host_trust(self, environ: WSGIEnvironment) -> bool:
        """Whether the request names a host that can only mean this machine.

        Another site's name can be made to lead here, and would let its pages into the console.
        """
        # Werkzeug's list can hold neither a range of addresses nor one with colons.
        return super().check_host_trust(environ) or is_name_of_this_machine(environ.get("HTTP_HOST", ""))

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        """Answer as Werkzeug does; in a thread, as evaluated code may block, and a wrong PIN does."""
        yield from super().__call__(environ, start_response)

    def _run(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        contexts: list[AbstractContextManager[Any]] = []
        # Flask leaves its contexts here, which evaluated code enters again.
        environ["werkzeug.debug.preserve_context"] = contexts.append

        def page(error: Exception) -> Iterator[bytes]:
            return self._page(error, contexts, environ, start_response)

        try:
            chunks = self.app(environ, start_response)
        except Exception as error:
            if comes_from_disconnect(error):
                raise
            return page(error)
        if isinstance(chunks, (list, tuple, FileWrapper)):
            return chunks  # they cannot fail, and Bridge has better ways to send them
        return (_WatchedStream if isinstance(chunks, LoopIterable) else _Watched)(chunks, page)

    def _page(
        self,
        error: Exception,
        contexts: list[AbstractContextManager[Any]],
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterator[bytes]:
        """Make the page about an error; with the headers out, start_response raises the error instead."""
        traceback = _traceback(error)
        for frame in traceback.all_frames:
            self.frames[id(frame)] = frame
            self.frame_contexts[id(frame)] = contexts
        html = traceback.render_debugger_html(
            evalex=self.check_host_trust(environ),
            secret=self.secret,
            evalex_trusted=bool(self.check_pin_trust(environ)),
        )
        exc_info = cast(ExcInfo, (type(error), error, error.__traceback__))
        chunks = Response(html, 500, mimetype="text/html")(
            environ, lambda status, headers, _=None: start_response(status, headers, exc_info)
        )
        logger.error(
            "%s: the app raised %s; the debugger answers",
            ascii(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")[1:-1],
            type(error).__name__,
            exc_info=error,
        )
        yield from chunks


def _traceback(error: Exception) -> DebugTraceback:
    """Return what the page shows, with the members of a group, as of a TaskGroup: Werkzeug omits them."""
    traceback = DebugTraceback(error, skip=1)  # without the frame that has caught it here
    shown = traceback.all_tracebacks
    for member in _members(error):
        message = shown[0][0] or "The above exception is one of those in the following group"
        shown[0] = (message, shown[0][1])
        shown += DebugTraceback(member).all_tracebacks
    return traceback


def _members(error: BaseException) -> Iterator[BaseException]:
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield member
        yield from _members(member)


class _Watched(Iterator[bytes]):
    """A response that goes on with a page if iterating over it fails.

    Args:
        chunks: the app's response.
        page: makes the page for an error.
    """

    def __init__(self, chunks: Iterable[bytes], page: _Page) -> None:
        self._chunks = chunks
        self._page = page
        self._steps: Iterator[bytes] | None = None
        self._has_failed = False

    def __next__(self) -> bytes:
        try:
            if self._steps is None:
                self._steps = iter(self._chunks)
            return next(self._steps)
        except StopIteration:
            raise
        except Exception as error:  # noqa: BLE001  # shown, or raised again
            return self._go_on_after(error)

    def _go_on_after(self, error: Exception) -> bytes:
        if self._has_failed or comes_from_disconnect(error):
            raise error
        self._has_failed = True
        self._steps = self._page(error)
        return next(self._steps)

    def close(self) -> None:
        """Close the app's response (PEP 3333)."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


class _WatchedStream(_Watched, LoopIterable, AsyncIterator[str | bytes]):
    """The same for a response whose parts come from the event loop."""

    _chunks: LoopIterable

    @override
    def begin_on_loop(self, link: GreenletLink) -> AsyncIterator[str | bytes]:
        self._parts = self._chunks.begin_on_loop(link)
        return self

    async def __anext__(self) -> str | bytes:
        try:
            if not self._has_failed:
                return await anext(self._parts)
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001  # shown, or raised again
            return self._go_on_after(error)
