"""A year's report: ordered, made in the background, watched, and fetched."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

from flask import Blueprint, Flask, Response, abort, current_app, redirect, render_template, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response as WerkzeugResponse
from wtforms import IntegerField
from wtforms.validators import NumberRange

from bridge.flask import EventSource
from demos.portal.extensions import db
from demos.portal.jobs.queue import enqueue
from demos.portal.models import Job, JobStatus, Role
from demos.portal.security import allow, current_member

blueprint = Blueprint("reports", __name__)

FIRST_YEAR = 2020
LOOK_EVERY = 0.25  # seconds


def _is_known_year() -> NumberRange:
    last = date.today().year + 1
    return NumberRange(FIRST_YEAR, last, f"Choose a year from {FIRST_YEAR} to {last}.")


class ReportForm(FlaskForm):
    year = IntegerField("Year", validators=[_is_known_year()])


@blueprint.route("/", methods=["GET", "POST"])
@allow(Role.MEMBER)
def index() -> str | WerkzeugResponse | tuple[str, int]:
    form = ReportForm(year=date.today().year)
    if form.validate_on_submit():
        job = _order(form.year.data)
        return redirect(url_for("reports.show", job_id=job.id))
    own = select(Job).where(Job.owner_id == current_member().id, Job.kind == "report")
    jobs = db.session.scalars(own.order_by(Job.id.desc()).limit(20)).all()
    return render_template("reports/index.html", form=form, jobs=jobs), 400 if form.errors else 200


@blueprint.get("/<id:job_id>")
@allow(Role.MEMBER)
def show(job_id: int) -> str:
    return render_template("reports/show.html", job=_job_or_404(job_id))


@blueprint.get("/<id:job_id>/events")
@allow(Role.MEMBER)
async def events(job_id: int) -> Response:
    await asyncio.to_thread(_check_and_let_go, job_id)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy has it
    return EventSource(_progress(app, job_id))


@blueprint.get("/<id:job_id>.csv")
@allow(Role.MEMBER)
def download(job_id: int) -> Response:
    job = _job_or_404(job_id)
    if job.status != JobStatus.DONE:
        abort(409, "The report is not ready yet.")
    response = Response(job.output, mimetype="text/csv")
    response.headers.set("Content-Disposition", "attachment", filename=f"report-{job.arguments['year']}.csv")
    return response


def _order(year: int) -> Job:
    member = current_member()
    subject = None if member.may(Role.STEWARD) else member.id  # stewards get the whole club's
    job: Job = enqueue("report", {"year": year, "member_id": subject}, member)
    db.session.commit()
    return job


def _job_or_404(job_id: int) -> Job:
    visible = Job.visible_to(current_member()).where(Job.id == job_id, Job.kind == "report")
    job: Job = db.session.scalar(visible) or abort(404)
    return job


def _check_and_let_go(job_id: int) -> None:
    """See that the job may be watched; a stream that stays open must not hold a database connection."""
    _job_or_404(job_id)
    db.session.remove()


async def _progress(app: Flask, job_id: int) -> AsyncIterator[dict[str, Any]]:
    """What there is to tell, whenever it has changed; whichever process does the job, the table knows."""
    told = None
    while True:
        state = await asyncio.to_thread(_state, app, job_id)
        if state != told:
            yield {"event": "progress", "data": state}
            told = state
        if state["status"] in (JobStatus.DONE, JobStatus.FAILED):
            return
        await asyncio.sleep(LOOK_EVERY)


def _state(app: Flask, job_id: int) -> dict[str, Any]:
    with app.app_context():  # a session of its own, given back at once
        job = db.session.get_one(Job, job_id)
        return {"status": job.status, "done": job.done, "total": job.total}
