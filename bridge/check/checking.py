"""A WSGI app → what it breaks of PEP 3333, found by requests.

They go through the adapter that would serve the app, with `wsgiref.validate` between the two. What either
complains of is taken down, also where the app keeps it to itself.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from bridge.asgi.adapter import WSGIToASGI
from bridge.asgi.lifespan import running
from bridge.check.routes import Route, list_routes, with_article
from bridge.check.validating import Recorder, validated, validated_flask
from bridge.errors import ApplicationError, BridgeError
from bridge.interfaces import is_flask
from bridge.loading import LoadedApp
from bridge.testing.memory import Exchange, http_scope
from bridge.types import WSGIApplication

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Answer", "Failure", "Report", "Request", "Skipped", "Violation", "check_app"]

# Rules of a Flask app that are requested.
_MAX_RULES = 50

# An answer that goes on is left after so many seconds or bytes: it may be a stream without an end.
_BODY_TIME = 1.0
_BODY_SIZE = 1 << 20

_NO_SUCH_PATH = "/no-such-path-for-bridge-check"
_BODY = b"checked=yes"
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE")


@dataclass(frozen=True)
class Request:
    """A request that an app is checked with."""

    method: str
    path: str
    """The path and the query, percent-encoded."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    request: Request
    status: int | None
    """None if there was no answer in time."""
    remark: str
    """A remark, such as that it did not end; empty for none."""


@dataclass(frozen=True)
class Violation:
    """What breaks PEP 3333, and the requests that showed it."""

    message: str
    requests: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """An exception of the app's, and the requests in which it was raised. It breaks no rule."""

    message: str
    requests: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """A rule with GET that was not requested."""

    rule: str
    why: str


@dataclass(frozen=True)
class Report:
    """What `check_app` has found."""

    name: str
    kind: str
    routes: tuple[Route, ...]
    """Empty for an app that is not Flask."""
    ran_lifespan: bool
    answers: tuple[Answer, ...]
    skipped: tuple[Skipped, ...]
    violations: tuple[Violation, ...]
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...]
    """What Bridge has logged besides."""


def check_app(
    loaded: LoadedApp,
    *,
    requests: Sequence[Request] = (),
    all_routes: bool = False,
    with_lifespan: bool = False,
    adapt: Callable[[WSGIApplication], WSGIToASGI] = WSGIToASGI,
    timeout: float = 10.0,
    begin: Callable[[str], None] = lambda request: None,
) -> Report:
    """Send requests to an app as it would be served, and note what it does wrong.

    Args:
        loaded: a WSGI app, or a `WSGIToASGI` made of one.
        requests: the requests to make.
        all_routes: whether to make these, too: GET, HEAD and OPTIONS of "/", GET of a path that is not there,
            and of the rules of a Flask app that have no arguments, 50 at most.
        with_lifespan: whether to run the app's lifespan around them.
        adapt: makes the adapter for a WSGI app.
        timeout: how many seconds to wait for each answer.
        begin: is told before each request which one it is, such as "3 of 53: GET /about".

    Raises:
        BridgeError: it is another ASGI app, or its lifespan fails.
    """
    app: object = loaded.app
    if isinstance(app, WSGIToASGI):
        adapter = copy.copy(app)  # the settings of the other, and nothing of what it has begun
    elif loaded.interface == "wsgi":
        adapter = adapt(loaded.app)
    else:
        raise BridgeError(f"{loaded.name} is {with_article(loaded.kind)} app; PEP 3333 is for WSGI apps")
    adapter.graceful_timeout = min(adapter.graceful_timeout, timeout)
    wsgi_app = adapter.app
    # Before the requests: with the first one the adapter puts its own functions around some of the hooks.
    routes = list_routes(loaded, async_views=adapter.async_views) if is_flask(wsgi_app) else ()
    rules, skipped = _rules_to_request(wsgi_app) if all_routes and is_flask(wsgi_app) else ([], [])
    recorder = Recorder()
    with ExitStack() as stack:
        stack.enter_context(recorder.listening())
        if is_flask(wsgi_app):
            stack.enter_context(validated_flask(wsgi_app, recorder))
            host = wsgi_app.config["SERVER_NAME"] or "localhost"
        else:
            adapter.app, host = validated(wsgi_app, recorder), "localhost"
        if all_routes:
            requests = [
                *(Request("GET", quote(path)) for path in dict.fromkeys(("/", *rules, _NO_SUCH_PATH))),
                Request("HEAD", "/"),
                Request("OPTIONS", "/"),
                *requests,
            ]
        lifespan = running(adapter) if with_lifespan else _closing(adapter)
        answers = asyncio.run(_ask_all(adapter, requests, recorder, host, timeout, lifespan, begin))
    return Report(
        name=loaded.name,
        kind="Flask" if routes else loaded.kind,
        routes=routes,
        ran_lifespan=with_lifespan,
        answers=tuple(answers),
        skipped=tuple(skipped),
        violations=tuple(Violation(*found) for found in _grouped(recorder.violations)),
        failures=tuple(Failure(*found) for found in _grouped(recorder.failures)),
        remarks=tuple(dict.fromkeys(recorder.remarks)),
    )


def _grouped(found: list[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Each message once, with the requests that it came with."""
    groups: dict[str, dict[str, None]] = {}
    for message, request in found:
        groups.setdefault(message, {})[request] = None
    return [(message, tuple(requests)) for message, requests in groups.items()]


def _rules_to_request(app: "Flask") -> tuple[list[str], list[Skipped]]:
    """The paths of the rules with GET, and the rules that are left out."""
    paths: dict[str, None] = {}
    skipped = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.websocket or rule.build_only or (rule.methods is not None and "GET" not in rule.methods):
            continue
        if not set(rule.arguments) <= set(rule.defaults or ()):
            skipped.append(Skipped(rule.rule, "it has arguments"))
        elif rule.host or rule.subdomain:
            skipped.append(Skipped(rule.rule, "it depends on the host"))
        elif len(paths) >= _MAX_RULES and rule.rule not in paths:
            skipped.append(Skipped(rule.rule, f"{_MAX_RULES} rules are enough"))
        else:
            paths[rule.rule] = None
    return list(paths), skipped


# The client


async def _ask_all(
    adapter: WSGIToASGI,
    requests: Sequence[Request],
    recorder: Recorder,
    host: str,
    patience: float,
    lifespan: AbstractAsyncContextManager[object],
    begin: Callable[[str], None],
) -> list[Answer]:
    """Make the requests one after the other, within a lifespan."""
    answers = []
    async with lifespan:
        for number, request in enumerate(requests, 1):
            begin(f"{number} of {len(requests)}: {request}")
            recorder.begin(str(request))
            answers.append(await _ask(adapter, request, host, patience))
    return answers


@asynccontextmanager
async def _closing(adapter: WSGIToASGI) -> AsyncIterator[None]:
    """End the adapter's threads without the app's lifespan."""
    try:
        yield
    finally:
        await adapter.close()


async def _ask(adapter: WSGIToASGI, request: Request, host: str, patience: float) -> Answer:
    headers = [(b"host", host.encode()), (b"user-agent", b"bridge-check"), (b"accept", b"*/*")]
    body = b"" if request.method in _WITHOUT_BODY else _BODY
    if body:
        headers += [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"content-length", b"%d" % len(body)),
        ]
    scope = http_scope(request.method, request.path.encode(), headers)
    exchange = Exchange(adapter, scope, body)
    exchange.start()
    remark = await _read(exchange, patience)
    exchange.leave()
    if not await exchange.join(patience):
        remark = f"{remark}; it went on when the client had left".removeprefix("; ")
    elif exchange.failure is not None:
        remark = "cut short"
        if not isinstance(exchange.failure, ApplicationError):
            raise exchange.failure  # not the app's, but one of this package's
    return Answer(request, exchange.status, remark)


async def _read(exchange: Exchange, patience: float) -> str:
    """Read the beginning of a response; return a remark on it."""
    try:
        async with asyncio.timeout(patience):
            await exchange.head()
    except TimeoutError:
        return f"no answer in {patience:g} s"
    size = 0
    try:
        async with asyncio.timeout(_BODY_TIME), aclosing(exchange.chunks()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > _BODY_SIZE:
                    return f"left after {size} bytes"
    except TimeoutError:
        return f"it had not ended after {_BODY_TIME:g} s"
    return ""
