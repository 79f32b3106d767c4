"""The queue, its worker, and what members and admins see of it."""

import asyncio
import csv
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from bridge.testing import Client
from demos.portal.extensions import db
from demos.portal.jobs import queue, worker
from demos.portal.jobs.kinds import KINDS, Step
from demos.portal.models import BookingStatus, Job, JobStatus, Member
from demos.portal.tests.conftest import TOMORROW, Visitor, add_booking

Visit = Callable[[str], Visitor]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the steps that were done of jobs of the kind "counting", which have three."""
    done: list[int] = []

    def counting(arguments: dict[str, Any], number: int) -> Step:
        if number == arguments.get("fails_at"):
            raise OSError("no such boat house")
        done.append(number)
        return Step(total=3, output=f"{number}\n")

    monkeypatch.setitem(KINDS, "counting", counting)
    return done


def order(app: Flask, **arguments: Any) -> int:
    with app.app_context():
        job = queue.enqueue("counting", arguments, db.session.scalars(select(Member)).first() or Member())
        db.session.commit()
        return job.id


def look(app: Flask, job_id: int) -> Job:
    with app.app_context():
        return db.session.get_one(Job, job_id)


def change(app: Flask, job_id: int, **values: Any) -> None:
    with app.app_context():
        db.session.execute(update(Job).where(Job.id == job_id).values(**values))
        db.session.commit()


def claim(app: Flask, name: str) -> int | None:
    with app.app_context():
        return queue.claim(name)


def run_step(app: Flask, job_id: int, name: str) -> bool:
    with app.app_context():
        return queue.run_step(job_id, name)


def test_a_job_is_done_step_by_step(app: Flask, steps: list[int]) -> None:
    job_id = order(app)
    assert claim(app, "w") == job_id
    assert [run_step(app, job_id, "w") for _ in range(3)] == [True, True, False]
    job = look(app, job_id)
    assert (steps, job.status, job.done, job.total) == ([0, 1, 2], JobStatus.DONE, 3, 3)
    assert job.output == "0\n1\n2\n"
    assert claim(app, "w") is None


def test_of_many_workers_one_gets_a_job(app: Flask, steps: list[int]) -> None:
    ids = {order(app) for _ in range(8)}
    claimed: list[int] = []
    start = threading.Barrier(4)

    def take_all(name: str) -> None:
        start.wait()
        while (job_id := claim(app, name)) is not None:
            claimed.append(job_id)

    threads = [threading.Thread(target=take_all, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_the_job_of_a_dead_worker_is_gone_on_with(app: Flask, steps: list[int]) -> None:
    job_id = order(app)
    claim(app, "dies")
    run_step(app, job_id, "dies")
    assert claim(app, "other") is None  # it may be alive
    change(app, job_id, lease_until=time.time() - 1)
    assert claim(app, "other") == job_id
    assert run_step(app, job_id, "other")
    assert not run_step(app, job_id, "dies")  # back from a long pause; what it does is not counted
    assert not run_step(app, job_id, "other")
    assert look(app, job_id).output == "0\n1\n2\n"


def test_a_job_whose_workers_die_is_given_up(app: Flask, steps: list[int]) -> None:
    job_id = order(app)
    for _ in range(queue.MAX_FAILURES + 1):
        assert claim(app, "dies") == job_id
        change(app, job_id, lease_until=time.time() - 1)
    claim(app, "last")
    assert not run_step(app, job_id, "last")
    assert look(app, job_id).status == JobStatus.FAILED
    assert "its worker has died" in look(app, job_id).error


async def until(condition: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # other threads do it, and tell nobody
        await asyncio.sleep(0.02)


async def finished(app: Flask, job_id: int) -> Job:
    await until(lambda: look(app, job_id).is_over)
    return look(app, job_id)


async def test_what_fails_is_tried_again_and_then_given_up(
    app: Flask, visit: Visit, steps: list[int]
) -> None:
    app.config.update(JOB_WORKERS=1, JOB_POLL_SECONDS=0.02, JOB_RETRY_SECONDS=0.01)
    job_id = order(app, fails_at=1)
    async with Client(app):
        job = await finished(app, job_id)
    assert (job.status, job.failures, job.done) == (JobStatus.FAILED, queue.MAX_FAILURES, 1)
    admin = visit("ada")
    assert "OSError: no such boat house" in admin.get("/admin/jobs").text
    change(app, job_id, arguments={})
    assert admin.post(f"/admin/jobs/{job_id}/retry").status_code == 302
    assert admin.post(f"/admin/jobs/{job_id}/retry").status_code == 409
    async with Client(app):
        await finished(app, job_id)
    assert steps == [0, 1, 2]  # from where it was


def test_tries_are_each_later(app: Flask, steps: list[int]) -> None:
    app.config["JOB_RETRY_SECONDS"] = 10.0
    job_id = order(app, fails_at=0)
    for delay in (10, 20, 40):
        change(app, job_id, not_before=0)
        claim(app, "w")
        with app.app_context():
            queue.fail(job_id, "w", OSError("again"))
        assert look(app, job_id).not_before == pytest.approx(time.time() + delay, abs=3)
        assert claim(app, "w") is None


async def test_a_server_that_ends_gives_its_job_back(app: Flask, steps: list[int]) -> None:
    app.config.update(JOB_WORKERS=1, JOB_POLL_SECONDS=0.02, JOB_STEP_PAUSE=60)
    job_id = order(app)
    async with Client(app):
        await until(lambda: bool(steps))
    job = look(app, job_id)
    assert (job.status, job.worker, job.failures) == (JobStatus.WAITING, None, 0)
    assert steps == [0]


async def test_a_worker_outlives_a_queue_that_is_away(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    stopping = asyncio.Event()
    app.config["JOB_POLL_SECONDS"] = 0.01
    with app.app_context():
        Job.__table__.drop(db.engine)  # type: ignore[attr-defined]  # it is a Table
    task = asyncio.create_task(worker.work(app, stopping))
    await until(lambda: "cannot reach its queue" in caplog.text)
    assert not task.done()
    stopping.set()
    await task


async def test_a_report_and_its_progress(app: Flask, visit: Visit) -> None:
    add_booking(app, "mia", note="=1+1", day=date.today())
    add_booking(app, "max", day=date.today())
    mia = visit("mia")
    assert mia.post("/reports/", year=date.today().year).headers["Location"] == "/reports/1"
    assert mia.get("/reports/1.csv").status_code == 409
    cookie = mia.client.get_cookie("portal_session")
    assert cookie is not None
    stopping = asyncio.Event()
    async with Client(app, cookies={"portal_session": cookie.value}) as client, asyncio.TaskGroup() as tasks:
        async with client.stream("GET", "/reports/1/events") as response:
            data = (json.loads(line[6:]) async for line in response.aiter_lines() if line[:6] == "data: ")
            assert await anext(data) == {"status": "waiting", "done": 0, "total": 0}
            tasks.create_task(worker.work(app, stopping))
            events = [event async for event in data]  # the stream ends with the job
        stopping.set()
        rows = list(csv.reader(io.StringIO((await client.get("/reports/1.csv")).text)))
    assert events[-1] == {"status": "done", "done": 12, "total": 12}
    assert [row[3:] for row in rows] == [["member", "status", "note"], ["Mia", "requested", "'=1+1"]]


def test_reports_are_their_owners(visit: Visit) -> None:
    visit("mia").post("/reports/", year=2025)
    other, admin = visit("max"), visit("ada")
    for path in ("/reports/1", "/reports/1/events", "/reports/1.csv"):
        assert other.get(path).status_code == 404
    assert admin.get("/reports/1").status_code == 200


@pytest.mark.parametrize("year", ["", "x", "2019", "9999", "9" * 30])
def test_a_report_of_no_year(visit: Visit, year: str) -> None:
    answer = visit("mia").post("/reports/", year=year)
    assert answer.status_code == 400
    assert 'class="wrong"' in answer.text


@pytest.fixture
def mails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged of mails, whatever other tests have done to logging in this process."""
    logger = logging.getLogger("demos.portal.mail")
    for name, value in {"disabled": False, "propagate": False}.items():
        monkeypatch.setattr(logger, name, value)
    caplog.set_level("INFO", logger.name)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


async def test_reminders(app: Flask, visit: Visit, mails: pytest.LogCaptureFixture) -> None:
    app.config.update(JOB_WORKERS=1, JOB_POLL_SECONDS=0.02)
    add_booking(app, "mia", status=BookingStatus.APPROVED)
    add_booking(app, "max")
    visit("ada").post("/admin/reminders")
    async with Client(app):
        job = await finished(app, 1)
    assert (job.status, job.done, job.total) == (JobStatus.DONE, 1, 1)
    assert f"mail to mia@club.example: You are rowing tomorrow: Heron, {TOMORROW:%a %d}" in mails.text
    assert "max@club.example" not in mails.text
