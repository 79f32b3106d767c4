"""`wsgiref.validate` between an app and the adapter, and a recorder of what each of the three complains of.

PEP 3333 is the measure, not the validator: where that asks for more, the app does not hear of it.
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
    """Takes down what goes wrong in the request that is under way, also what Bridge logs of it."""

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
        """Take down that the app broke PEP 3333."""
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
        """Take down what the validator complains of in this block, also if the app keeps it to itself."""
        try:
            yield
        except Exception as error:
            complaint = _complaint(error)
            if complaint is not None and error not in self._noted:
                self._noted.append(error)
                self.add_violation(complaint)
            raise

    @contextmanager
    def noting_warnings(self) -> Iterator[None]:
        """The same for its warnings; not for a block that waits, as warnings are everybody's."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            self.add_violation(f'{warning.message} (PEP 3333, "{_START_RESPONSE[0]}")')

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear, in place of the log, what Bridge says of the app."""
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
        """Take a record of Bridge's; those of `call` name the request, and then what was wrong with it."""
        if record.exc_info and record.exc_info[1] is not None:
            self.add_failure(record.exc_info[1])
        elif record.module == "call" and isinstance(record.args, tuple):
            self.add_violation(str(record.args[1]))
        else:
            self.remarks.append(record.getMessage())


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
    lines = str(error).strip().splitlines()
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
        with self._recorder.noting():
            chunks = validate.validator(self._call_app)(environ, self._start_for_adapter)
        return _NotedBody(chunks, self._recorder)

    def _call_app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start: Any = start_response

        def start_for_app(*args: Any, **kwargs: Any) -> Callable[..., None]:
            with self._recorder.noting(), self._recorder.noting_warnings():
                write = start(*self._with_expected_content_type(args), **kwargs)

            def noted_write(*args: Any) -> None:
                with self._recorder.noting():
                    write(*args)

            return noted_write

        environ["wsgi.input"] = _NotedStream(environ["wsgi.input"], self._recorder)
        environ["wsgi.errors"] = _NotedStream(environ["wsgi.errors"], self._recorder)
        chunks: Any = self._app(environ, start_for_app)
        if chunks is not None and not _is_iterable(chunks):
            raise ApplicationError(  # the validator would trip over it
                f"the app returned a value of type {type(chunks).__name__}, "
                f'which is not an iterable of bytes (PEP 3333, "{_SPECIFICATION}")'
            )
        return chunks  # type: ignore[no-any-return]  # whatever it is, the validator will say

    def _with_expected_content_type(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the app gave, with a Content-Type where the validator wants one, and none where it does not.

        PEP 3333 asks for neither, and Flask itself sends one with a 204.
        """
        self._headers = args[1] if len(args) > 1 else None
        if type(self._headers) is not list:
            return args
        status, headers, *others = args
        without = [each for each in headers if not _is_content_type(each)]
        if str(status).split(None, 1)[:1] in (["204"], ["304"]):
            headers = without
        elif len(headers) == len(without):
            headers = [*headers, ("Content-Type", "text/plain")]
        return status, headers, *others

    def _start_for_adapter(self, status: str, headers: Any, *others: Any) -> Callable[[bytes], object]:
        return self._start_response(status, self._headers, *others)


def _is_iterable(value: object) -> bool:
    """Whether `iter` takes it, which is not called for it: an app's `__iter__` is to be called once."""
    return hasattr(type(value), "__iter__") or hasattr(type(value), "__getitem__")


def _is_content_type(header: Any) -> bool:
    is_pair = type(header) is tuple and len(header) == 2
    return is_pair and isinstance(header[0], str) and header[0].lower() == "content-type"


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


class _NotedBody:
    """What the app has returned, as the adapter sees it: the validator's iterator."""

    def __init__(self, chunks: Iterable[bytes], recorder: Recorder) -> None:
        self._chunks: Any = chunks
        self._recorder = recorder

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._recorder.noting():
            chunk: bytes | None = next(self._chunks, None)
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._chunks.close()
