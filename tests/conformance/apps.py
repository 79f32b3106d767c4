"""Small WSGI apps, and makers of them, for tables of cases."""

from collections.abc import Callable, Iterable

from bridge.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["PLAIN", "answering", "beside_hello", "echoing", "hello"]

PLAIN = [("Content-Type", "text/plain")]


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The app that is asked after another has failed, and the one that can be pickled."""
    start_response("200 OK", PLAIN)
    return [b"hello"]


def answering(
    body: Iterable[bytes] = (b"hello",),
    *,
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = PLAIN,
) -> WSGIApplication:
    """An app that gives this answer to everything."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body

    return app


def echoing(look: Callable[[WSGIEnvironment], object]) -> WSGIApplication:
    """An app that answers with the `ascii` of what it has seen in the environ."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen = ascii(look(environ)).encode()
        start_response("200 OK", PLAIN)
        return [seen]

    return app


def beside_hello(app: WSGIApplication) -> WSGIApplication:
    """An app with `hello` at /hello, to be asked whether the adapter still serves."""

    def either(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return (hello if environ["PATH_INFO"] == "/hello" else app)(environ, start_response)

    return either
