"""Apps as Flask's and others' documentation has them, with an async view beside what they have."""

import asyncio
import contextlib
import gc
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import peewee
import pytest
from flask import Flask, Response, abort, current_app, g, render_template_string
from sqlalchemy import Column, Integer, String, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import close_all_sessions, declarative_base, scoped_session, sessionmaker

from bridge import WSGIToASGI
from bridge.flask import stream
from bridge.free_threading import has_gil
from bridge.testing import Client
from bridge.types import AsyncViews

MODES: list[AsyncViews] = ["auto", "thread"]


async def many(app: Flask, paths: list[str], async_views: AsyncViews) -> list[httpx.Response]:
    """The answers to requests that are made at once, eight at a time."""
    async with Client(WSGIToASGI(app, threads=8, async_views=async_views)) as client:
        answers: list[httpx.Response] = []
        for start in range(0, len(paths), 8):
            answers += await asyncio.gather(*(client.get(path) for path in paths[start : start + 8]))
    return answers


def tutorial(path: Path) -> Flask:
    """Flask's tutorial, "Define and Access the Database" and "Blueprints and Views", and an async view."""
    app = Flask("flaskr")
    app.secret_key = "dev"

    def get_db() -> sqlite3.Connection:
        if "db" not in g:
            g.db = sqlite3.connect(path)
        return g.db  # type: ignore[no-any-return]  # g knows no types

    @app.teardown_appcontext
    def close_db(error: BaseException | None = None) -> None:
        db = g.pop("db", None)
        if db is not None:
            db.close()

    @app.before_request
    def load_logged_in_user() -> None:
        g.user = get_db().execute("select 7").fetchone()[0]

    @app.get("/async")
    async def waits() -> str:
        await asyncio.sleep(0.001)
        return f"user {g.user}"

    @app.get("/plain")
    def plain() -> str:
        return f"user {get_db().execute('select 7').fetchone()[0]}"

    return app


@pytest.mark.parametrize("async_views", MODES)
async def test_flasks_tutorial(tmp_path: Path, async_views: AsyncViews) -> None:
    answers = await many(tutorial(tmp_path / "flaskr.sqlite"), ["/async", "/plain"] * 30, async_views)
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "user 7")}


def app_of_peewee(path: Path) -> tuple[Flask, peewee.SqliteDatabase]:
    """peewee's documentation, "Framework Integration", "Flask"."""
    app = Flask("app")
    database = peewee.SqliteDatabase(str(path))

    @app.before_request
    def before() -> None:
        database.connect()

    @app.after_request
    def after(response: Any) -> Any:
        database.close()
        return response

    @app.get("/async")
    async def waits() -> str:
        await asyncio.sleep(0.001)
        return "async"

    @app.get("/plain")
    def plain() -> str:
        query: Any = database.execute_sql  # which has no types
        return str(query("select 7").fetchone()[0])

    return app, database


@pytest.mark.parametrize("async_views", MODES)
async def test_peewee(tmp_path: Path, async_views: AsyncViews) -> None:
    app, database = app_of_peewee(tmp_path / "app.sqlite")
    answers = await many(app, ["/async"] * 40 + ["/plain"] * 20, async_views)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"async", "7"}
    assert database.is_closed()


Base: Any = declarative_base()


class Row(Base):  # type: ignore[misc]  # its types need a plugin
    __tablename__ = "rows"
    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True)


@contextlib.contextmanager
def app_of_scoped_sessions(path: Path) -> Iterator[Flask]:
    """Flask's documentation, "SQLAlchemy in Flask", "Declarative", used in async views."""
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    session = scoped_session(sessionmaker(bind=engine))
    app = Flask("app")

    @app.teardown_appcontext
    def shutdown_session(error: BaseException | None = None) -> None:
        session.remove()

    @app.get("/forgets")
    async def forgets() -> str:
        session.add(Row(name="not committed"))
        await asyncio.sleep(0.001)
        return "x"

    @app.get("/commits/<name>")
    async def commits(name: str) -> str:
        session.add(Row(name=name))
        session.commit()
        session.remove()
        return "x"

    @app.get("/rows")
    async def rows() -> list[str]:
        found = [str(row.name) for row in session.execute(select(Row)).scalars()]
        session.remove()
        return sorted(found)

    yield app
    close_all_sessions()  # that of the view that failed, too: its thread has ended, and no teardown was in it
    engine.dispose()


@pytest.mark.parametrize("async_views", MODES)
async def test_scoped_sessions(
    tmp_path: Path, async_views: AsyncViews, caplog: pytest.LogCaptureFixture
) -> None:
    """What one request has not committed, no other commits; and what fails for one, fails for it alone."""
    with app_of_scoped_sessions(tmp_path / "app.sqlite") as app:
        paths = ["/forgets", "/commits/a", "/commits/b", "/commits/a", "/commits/c", "/rows"]
        async with Client(WSGIToASGI(app, async_views=async_views)) as client:
            answers = [await client.get(path) for path in paths]
    caplog.clear()  # it holds the failure, and that the thread of the coroutine
    assert [answer.status_code for answer in answers] == [200, 200, 200, 500, 200, 200]
    assert answers[-1].json() == ["a", "b", "c"]


async def test_a_context_processor_of_an_async_view(tmp_path: Path) -> None:
    """It is called where the template is rendered, and finds there what the view has left."""
    app = Flask("app")

    def get_db() -> sqlite3.Connection:
        if "db" not in g:
            g.db = sqlite3.connect(tmp_path / "app.sqlite")
        return g.db  # type: ignore[no-any-return]  # g knows no types

    @app.context_processor
    def inject() -> dict[str, object]:
        return {"number": get_db().execute("select 7").fetchone()[0]}

    @app.get("/")
    async def view() -> str:
        get_db()
        await asyncio.sleep(0)
        page = render_template_string("{{ number }}")
        get_db().close()
        return page

    answers = await many(app, ["/"] * 16, "auto")
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "7")}


async def test_an_error_handler_of_an_async_view(tmp_path: Path) -> None:
    """Where it is plain, a worker thread calls it, with the request."""
    with app_of_scoped_sessions(tmp_path / "app.sqlite") as app:

        @app.errorhandler(IntegrityError)
        def clash(error: Exception) -> tuple[str, int]:
            return "there already", 409

        answers = await many(app, ["/commits/a", "/commits/b"], "auto")
        assert {answer.status_code for answer in answers} == {200}
        (answer,) = await many(app, ["/commits/a"], "auto")
        assert (answer.status_code, answer.text) == (409, "there already")


# Code that blocks


def app_of_callbacks() -> Flask:
    """As Dash has it: one async view for all, which calls the user's plain functions."""
    app = Flask("app")

    async def dispatch() -> str:
        time.sleep(0.4)  # noqa: ASYNC251  # that is the point
        return threading.current_thread().name

    app.add_url_rule("/callback", view_func=dispatch)
    app.add_url_rule("/other", view_func=lambda: "other")
    return app


@pytest.mark.timeout(60)
async def test_a_view_that_blocks_hurts_once(caplog: pytest.LogCaptureFixture) -> None:
    """After the second time its requests go to threads; the first two are named."""
    adapter = WSGIToASGI(app_of_callbacks())
    here = threading.current_thread().name
    async with Client(adapter) as client:
        first = [(await client.get("/callback")).text for _ in range(2)]
        began = time.monotonic()
        later = await asyncio.gather(*(client.get("/callback") for _ in range(6)), client.get("/other"))
        passed = time.monotonic() - began
        assert adapter.blocked == {"dispatch": 2}
    assert first == [here, here]
    assert here not in {answer.text for answer in later}
    assert passed < 6 * 0.4, "they wait at the same time"
    first_warning, second_warning = (record.getMessage() for record in caplog.records)
    name = "app_of_callbacks.<locals>.dispatch" if has_gil() else "dispatch"  # as faulthandler has it
    for message in (first_warning, second_warning):
        assert message.startswith(
            f"the view 'dispatch' ({__name__}) has blocked the event loop for over 0.1 s, at "
            f"{name}, {__file__}:"
        )
        assert "time.sleep(0.4)" in message
        assert set(re.findall(r'File "(.*?)"', message)) == {__file__}  # the app's frames alone
    assert "if it does so again, its requests go to threads" in first_warning
    assert "this is the second time, so its requests go to threads from now on" in second_warning


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_view_that_blocks_is_noticed_after_a_fork() -> None:
    """The thread that watched in the parent is not in the child, on whose loop nobody looked."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.flask.forking"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "child: {'view': 1}\n")


@pytest.mark.timeout(60)
async def test_a_stream_that_goes_on_blocking_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("app")

    async def rows() -> AsyncIterator[str]:
        for _ in range(4):
            time.sleep(0.3)  # noqa: ASYNC251  # that is the point
            yield "row"
            await asyncio.sleep(0)

    @app.get("/")
    async def streams() -> Response:
        return Response(stream(rows()))

    adapter = WSGIToASGI(app)
    async with Client(adapter) as client:
        assert (await client.get("/")).text == 4 * "row"
        assert adapter.blocked == {"streams": 1}
    assert len(caplog.records) == 1


@pytest.mark.timeout(60)
async def test_threads_that_compute_are_not_the_loops_fault(caplog: pytest.LogCaptureFixture) -> None:
    """The loop waits for its turn then, wherever it is: nobody on it has held it."""
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            sum(number * number for number in range(1000))

    app = Flask("app")

    @app.get("/")
    async def waits() -> str:
        await asyncio.sleep(4)
        return "x"

    adapter = WSGIToASGI(app)
    async with Client(adapter) as client:
        await client.get("/other")
        waiting = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.1)
        threads = [threading.Thread(target=compute) for _ in range(30)]
        try:
            for thread in threads:
                await asyncio.to_thread(thread.start)  # which waits for it to have begun
            assert (await waiting).text == "x"
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert adapter.blocked == {}
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.timeout(60)
async def test_a_view_that_blocks_is_named_among_many_threads() -> None:
    """Without the global interpreter lock, only the 100 newest can be looked at."""
    is_over = threading.Event()
    threads = [threading.Thread(target=is_over.wait) for _ in range(110)]
    for thread in threads:
        thread.start()
    try:
        adapter = WSGIToASGI(app_of_callbacks())
        async with Client(adapter) as client:
            await client.get("/callback")
            assert adapter.blocked == {"dispatch": 1}
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(not has_gil(), reason="the task's context may not be looked into, as the loop runs in it")
@pytest.mark.timeout(60)
async def test_what_a_view_has_begun_blocks_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """Also a task of its own is the view's doing."""
    app = Flask("app")

    async def careless() -> None:
        time.sleep(0.4)  # noqa: ASYNC251  # that is the point

    @app.get("/")
    async def gathers() -> str:
        await asyncio.gather(careless(), asyncio.sleep(0))
        return "x"

    adapter = WSGIToASGI(app)
    async with Client(adapter) as client:
        await client.get("/")
        assert adapter.blocked == {"gathers": 1}
    assert "the view 'gathers'" in caplog.text


BLOCKING: dict[str, Callable[[], object]] = {
    "work in Python": lambda: sum(number * number for number in range(6_000_000)),
    "a query, which does not hold it": lambda: run_query(),
}
if has_gil():  # without it, such work cannot be stopped for the watch to look, which sees what follows
    BLOCKING["work in C that holds the interpreter"] = lambda: sum(range(50_000_000))


def run_query() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000000) "
            "select count(*) from n"
        ).fetchone()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("block", BLOCKING.values(), ids=BLOCKING)
async def test_ways_to_block(block: Callable[[], object]) -> None:
    app = Flask("app")

    @app.get("/")
    async def view() -> str:
        block()
        return "x"

    @app.get("/first")
    async def first() -> str:
        await asyncio.sleep(0.1)  # the watch has begun when this has
        return "x"

    adapter = WSGIToASGI(app)
    async with Client(adapter) as client:
        await client.get("/first")
        await client.get("/")
        async with asyncio.timeout(5):  # the watch may be about to say so
            while adapter.blocked != {"view": 1}:  # noqa: ASYNC110  # it has a thread of its own
                await asyncio.sleep(0.01)


@pytest.mark.timeout(60)
async def test_many_short_steps_are_nobodys_fault(caplog: pytest.LogCaptureFixture) -> None:
    """The loop does not answer for long, as it has much to do."""
    app = Flask("app")

    @app.get("/")
    async def short() -> str:
        end = time.monotonic() + 0.005
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0)
        return "x"

    adapter = WSGIToASGI(app)
    gc.freeze()  # in a process of many tests, a collection takes as long as what the watch looks for
    try:
        async with Client(adapter) as client:
            for _ in range(3):
                await asyncio.gather(*(client.get("/") for _ in range(100)))
            assert adapter.blocked == {}
    finally:
        gc.unfreeze()
    assert "blocked" not in caplog.text


@pytest.mark.parametrize("threshold", [0, 5])
async def test_a_view_that_may_block_stays_on_the_loop(threshold: float) -> None:
    app = app_of_callbacks()
    here = threading.current_thread().name
    async with Client(WSGIToASGI(app, blocking_threshold=threshold)) as client:
        assert {(await client.get("/callback")).text for _ in range(3)} == {here}


@pytest.mark.timeout(60)
async def test_a_view_that_is_wished_on_the_loop_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    app = app_of_callbacks()
    here = threading.current_thread().name
    async with Client(WSGIToASGI(app, async_views="loop")) as client:
        assert {(await client.get("/callback")).text for _ in range(3)} == {here}
    assert "go to threads" not in caplog.text
    assert caplog.text.count("has blocked the event loop") == 3


async def test_abort_in_an_async_view_in_a_thread() -> None:
    app = Flask("app")
    app.before_request(lambda: None)

    @app.get("/")
    async def view() -> str:
        assert current_app.name == "app"
        abort(403)

    (answer,) = await many(app, ["/"], "auto")
    assert answer.status_code == 403
