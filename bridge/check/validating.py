"""`wsgiref.validate` and a `Response` between an app and the adapter, and a recorder of their complaints.

PEP 3333 is the measure, not the validator: the app does not get the complaints that go beyond it. What the
adapter would mend or refuse is found by a state machine like its own, which gets the same words of the app.
"""

import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref import validate

from bridge.blocking import NOT_THE_APPS
from bridge.core.response import Response
from bridge.errors import ApplicationError, ClientDisconnected
from bridge.types import StartResponse, WSGIApplication

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Recorder", "validated", "validated_flask"]

_SPECIFICATION = "The Application/Framework Side"

# What of wsgiref.validate complains of what: the section of PEP 3333, and words where it has none of its own.
_COMPLAINTS = {
    "InputWrapper": ("Input and Error Streams", "the app called a method of wsgi.input as it must not"),
    "ErrorWrapper": ("Input and Error Streams", "the app wrote something else than a str to wsgi.errors"),
    "WriteWrapper": ("The write() Callable", "the app called write() with something else than bytes"),
    "IteratorWrapper": (_SPECIFICATION, "the app's iterable is not one of bytes"),
    "lint_app": (_SPECIFICATION, "the app is not called as it should be"),
    "check_iterator": (_SPECIFICATION, "the app's iterable is not one of bytes"),
    "check_status": ("The start_response() Callable", "the app's status is not one such as '200 OK'"),
    "check_headers": ("The start_response() Callable", "a header is not a pair of name and value"),
}
_START_RESPONSE = ("The start_response() Callable", "the app called start_response as it must not")


class Recorder(logging.Handler):
    """Takes down what goes wrong in the request that is under way, and what Bridge logs meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.request = ""
        self.violations: list[tuple[str, str]] = []
        """What was wrong, and in which request."""
        self.failures: list[tuple[str, str]] = []
        """Exceptions of the app's, and the requests."""
        self.remarks: list[str] = []
        """What else Bridge has logged."""
        self._noted: list[BaseException] = []

    def begin(self, request: str) -> None:
        """From now on it is the request of this name."""
        self.request = request
        self._noted.clear()

    def add_violation(self, message: str) -> None:
        """Take down that the app broke PEP 3333; once for each request."""
        if (message, self.request) not in self.violations:
            self.violations.append((message, self.request))

    def add_failure(self, error: BaseException) -> None:
        """Take down that the app raised an exception; once, and not if it is one of the validator's."""
        if isinstance(error, ClientDisconnected) or isinstance(error.__cause__, ClientDisconnected):
            return  # we were the client, and have left
        if not any(error is noted or error.__context__ is noted for noted in self._noted):
            self._noted.append(error)
            self.failures.append((_describe(error), self.request))

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Take down what breaks PEP 3333 in this block, also if the app keeps it to itself."""
        try:
            yield
        except Exception as error:
            complaint = str(error) if isinstance(error, ApplicationError) else _complaint(error)
            if complaint is not None and error not in self._noted:
                self._noted.append(error)
                self.add_violation(complaint)
            raise

    @contextmanager
    def noting_failures(self) -> Iterator[None]:
        """The same for a block in which all exceptions are the app's."""
        try:
            with self.noting():
                yield
        except BaseException as error:
            self.add_failure(error)
            raise

    @contextmanager
    def noting_warnings(self) -> Iterator[None]:
        """The same for the validator's warnings; not for a block that waits, as warnings are everybody's."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            self.add_violation(f'{warning.message} (PEP 3333, "{_START_RESPONSE[0]}")')

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear, in place of the log, what Bridge says."""
        logger = logging.getLogger("bridge")
        before = logger.handlers[:], logger.propagate, logger.level
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before[:2]
            logger.setLevel(before[2])

    def emit(self, record: logging.LogRecord) -> None:
        """Take down what is new in it: the adapter tells people, too, of what was found here."""
        if record.exc_info and record.exc_info[1] is not None:
            self.add_failure(record.exc_info[1])  # as of a background function
            return
        text = record.getMessage()
        if not any(message in text for message, _ in self.violations):
            self.remarks.append(text)


def _complaint(error: Exception) -> str | None:
    """What the validator says by an exception; None if it comes from elsewhere."""
    frames = [
        frame.f_code
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name != "assert_"
    ]
    if not frames or frames[-1].co_filename != validate.__file__:
        return None
    # Some checks fail by themselves, such as int() of a status; else it might be an app's iterator in C.
    where = frames[-1].co_name
    if not isinstance(error, AssertionError) and not where.startswith("check_"):
        return None
    if where not in _COMPLAINTS:  # a method: its class says what it is about
        where = frames[-1].co_qualname.partition(".")[0]
    section, words = _COMPLAINTS.get(where, _START_RESPONSE)
    message = str(error) if isinstance(error, AssertionError) else f"{words}: {error}"
    return f'{message or words} (PEP 3333, "{section}")'


def _describe(error: BaseException) -> str:
    """An exception, and the last line of the app's own code that it went through."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001  # the app's own `__str__`, which may be what fails
        lines = []
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((*NOT_THE_APPS, "<"))]
    if not own:
        return text
    file = own[-1].filename.removeprefix(os.getcwd() + os.sep)
    return f"{text} ({file}:{own[-1].lineno}, in {own[-1].name})"


# The validator, between the app and the adapter


@contextmanager
def validated_flask(app: "Flask", recorder: Recorder) -> Iterator[None]:
    """Put the validator around the `wsgi_app` of a Flask app for a block; to the adapter it is still one."""
    from flask import got_request_exception

    def note(sender: "Flask", exception: BaseException, **_: Any) -> None:
        recorder.add_failure(exception)

    own = vars(app).get("wsgi_app")
    vars(app)["wsgi_app"] = validated(app.wsgi_app, recorder)
    try:
        with got_request_exception.connected_to(note, app):
            yield
    finally:
        del vars(app)["wsgi_app"]
        if own is not None:
            vars(app)["wsgi_app"] = own


def validated(app: WSGIApplication, recorder: Recorder) -> WSGIApplication:
    """An app that is another one with the validator before it."""

    def call(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return _Call(app, recorder, start_response).begin(environ)

    return call


class _Call:
    """One call of an app through the validator, with a side of it towards each of the two."""

    def __init__(self, app: WSGIApplication, recorder: Recorder, start_response: StartResponse) -> None:
        self._app = app
        self._recorder = recorder
        self._start_response = start_response
        self._headers: Any = None

    def begin(self, environ: dict[str, Any]) -> Iterable[bytes]:
        """Call the validator, which calls the app."""
        response = _NotedResponse(environ["REQUEST_METHOD"], self._recorder)

        def start_for_adapter(status: str, _: Any, *exc_info: Any) -> Callable[[bytes], object]:
            response.start(status, self._headers, *exc_info)
            write = self._start_response(status, self._headers, *exc_info)

            def write_for_adapter(data: bytes) -> object:
                response.chunk(data)
                return write(data)

            return write_for_adapter

        with self._recorder.noting_failures():
            chunks = validate.validator(self._call_app)(environ, start_for_adapter)
        return _NotedBody(chunks, response, self._recorder)

    def _call_app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start: Any = start_response

        def start_for_app(*args: Any, **kwargs: Any) -> Callable[..., None]:
            if len(args) > 1:  # else the validator will say
                status, self._headers, *exc_info = args
                args = status, _with_expected_content_type(status, self._headers), *exc_info
            with self._recorder.noting(), self._recorder.noting_warnings():
                write = start(*args, **kwargs)

            def noted_write(*args: Any) -> None:
                with self._recorder.noting():
                    write(*args)

            return noted_write

        environ["wsgi.input"] = _NotedStream(environ["wsgi.input"], self._recorder)
        environ["wsgi.errors"] = _NotedStream(environ["wsgi.errors"], self._recorder)
        chunks: Any = self._app(environ, start_for_app)
        # What `iter` takes. It is not asked: an app's `__iter__` may be called once.
        if (
            chunks is not None
            and not hasattr(type(chunks), "__iter__")
            and not hasattr(type(chunks), "__getitem__")
        ):
            raise ApplicationError(  # the validator would trip over it
                f"the app returned a value of type {type(chunks).__name__}, "
                f'which is not an iterable of bytes (PEP 3333, "{_SPECIFICATION}")'
            )
        return chunks  # type: ignore[no-any-return]  # whatever it is, the validator will say


def _with_expected_content_type(status: Any, headers: Any) -> Any:
    """What the app gave, with a Content-Type where the validator wants one, and none where it does not.

    PEP 3333 asks for neither, and Flask itself sends one with a 204.
    """
    if type(headers) is not list:
        return headers
    without = []
    for header in headers:
        is_pair = type(header) is tuple and len(header) == 2
        if not (is_pair and isinstance(header[0], str) and header[0].lower() == "content-type"):
            without.append(header)
    if str(status).split(None, 1)[:1] in (["204"], ["304"]):
        return without
    return headers if len(headers) > len(without) else [*headers, ("Content-Type", "text/plain")]


class _NotedStream:
    """`wsgi.input` or `wsgi.errors`, as the app sees it, with what the validator says of its use."""

    def __init__(self, stream: Any, recorder: Recorder) -> None:
        self._stream = stream
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stream, name)

        def noted(*args: Any) -> Any:
            # PEP 3333 lets servers take read() without a size, and Bridge does; the validator does not.
            if name == "read" and not args:
                args = (-1,)
            with self._recorder.noting():
                return method(*args)

        return noted

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)


class _NotedResponse:
    """What the app says on its way to the adapter, and what that will find wrong with it."""

    def __init__(self, method: str, recorder: Recorder) -> None:
        self._response = Response(method)
        self._recorder = recorder

    def start(self, *args: Any) -> None:
        self._response.start(*args)
        self._note_warnings()

    def chunk(self, data: bytes) -> None:
        self._response.chunk(data)
        self._note_warnings()

    def end(self) -> None:
        self._response.end()

    def _note_warnings(self) -> None:
        for warning in self._response.warnings or ():
            self._recorder.add_violation(warning)


class _NotedBody:
    """What the app has returned, as the adapter sees it: the validator's iterator."""

    def __init__(self, chunks: Iterable[bytes], response: _NotedResponse, recorder: Recorder) -> None:
        self._chunks: Any = chunks
        self._response = response
        self._recorder = recorder

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._recorder.noting_failures():
            chunk: bytes | None = next(self._chunks, None)
            if chunk is None:
                self._response.end()
            else:
                self._response.chunk(chunk)
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        with self._recorder.noting_failures():
            self._chunks.close()
