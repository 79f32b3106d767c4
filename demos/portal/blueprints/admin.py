"""For admins: members and their roles, and the jobs."""

from datetime import date, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from werkzeug.wrappers import Response
from wtforms import BooleanField, SelectChoice, SelectField

from demos.portal.extensions import db
from demos.portal.jobs.queue import enqueue, retry
from demos.portal.models import Booking, BookingStatus, Job, JobStatus, Member, Role
from demos.portal.security import allow, current_member

blueprint = Blueprint("admin", __name__)

PER_PAGE = 50


class MemberForm(FlaskForm):
    role = SelectField("Role", choices=[SelectChoice(role.value, role.capitalize()) for role in Role])
    is_active = BooleanField("May log in")


@blueprint.get("/members")
@allow(Role.ADMIN)
def members() -> str:
    found = db.paginate(select(Member).order_by(Member.name, Member.id), page=_page(), per_page=PER_PAGE)
    forms = {each.id: MemberForm(obj=each, formdata=None, prefix=f"m{each.id}-") for each in found}
    return render_template("admin/members.html", members=found, forms=forms)


@blueprint.post("/members/<id:member_id>")
@allow(Role.ADMIN)
def change_member(member_id: int) -> Response:
    changed = db.get_or_404(Member, member_id)
    if changed.id == current_member().id:
        abort(409, "Another admin has to change your role, so that there is always an admin.")
    form = MemberForm(prefix=f"m{changed.id}-")
    if not form.validate_on_submit():
        abort(400, f"The role must be one of {', '.join(Role)}.")
    changed.role = Role(form.role.data)
    changed.is_active = form.is_active.data
    if not changed.is_active:
        changed.end_sessions()
    db.session.commit()
    flash(
        f"{changed.name} is now {changed.role}"
        + ("." if changed.is_active else ", and can no longer log in.")
    )
    return redirect(url_for("admin.members", page=_page()))


@blueprint.get("/jobs")
@allow(Role.ADMIN)
def jobs() -> str:
    found = db.paginate(select(Job).order_by(Job.id.desc()), page=_page(), per_page=PER_PAGE)
    return render_template("admin/jobs.html", jobs=found, Status=JobStatus)


@blueprint.post("/jobs/<id:job_id>/retry")
@allow(Role.ADMIN)
def retry_job(job_id: int) -> Response:
    job = db.get_or_404(Job, job_id)
    if job.status != JobStatus.FAILED:
        abort(409, f"The job is {job.status}. Only a failed job can be tried again.")
    retry(job)
    db.session.commit()
    flash(f"Job {job.id} will be tried again.")
    return redirect(url_for("admin.jobs"))


@blueprint.post("/reminders")
@allow(Role.ADMIN)
def remind() -> Response:
    tomorrow = date.today() + timedelta(days=1)
    wanted = select(Booking.id).where(Booking.day == tomorrow, Booking.status == BookingStatus.APPROVED)
    enqueue("reminders", {"bookings": list(db.session.scalars(wanted))}, current_member())
    db.session.commit()
    flash("Everybody who rows tomorrow will get an e-mail.")
    return redirect(url_for("admin.jobs"))


def _page() -> int:
    return min(request.args.get("page", 1, type=int), 10_000)
