"""Members book boats; stewards decide."""

from datetime import date, timedelta

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response
from wtforms import DateField, Field, Form, RadioField, SelectChoice, SelectField
from wtforms.validators import InputRequired, ValidationError

from demos.portal import mail
from demos.portal.blueprints.fields import line
from demos.portal.extensions import bridge, db
from demos.portal.models import Boat, Booking, BookingStatus, Role, TimeOfDay
from demos.portal.security import allow, current_member

blueprint = Blueprint("bookings", __name__)

AHEAD = timedelta(days=60)
PER_PAGE = 20


def _is_soon(form: Form, field: Field) -> None:
    today = date.today()
    # What is no day at all, the field itself has said something of.
    if field.data is not None and not today <= field.data <= today + AHEAD:
        raise ValidationError(f"Choose a day from today to {today + AHEAD:%d %B %Y}.")


class BookingForm(FlaskForm):
    boat = SelectField("Boat", coerce=int)
    day = DateField("Day", validators=[InputRequired("Choose a day, as 2026-05-01."), _is_soon])
    time_of_day = RadioField(
        "Time", choices=[SelectChoice(each.value, each.capitalize()) for each in TimeOfDay]
    )
    note = line("Note for the stewards", 0, 200)


@blueprint.get("/")
@allow(Role.MEMBER)
def index() -> str:
    own = select(Booking).where(Booking.member_id == current_member().id)
    page = min(request.args.get("page", 1, type=int), 10_000)
    found = db.paginate(own.order_by(Booking.day.desc(), Booking.id.desc()), page=page, per_page=PER_PAGE)
    return render_template("bookings/index.html", bookings=found)


@blueprint.route("/new", methods=["GET", "POST"])
@allow(Role.MEMBER)
def new() -> str | Response | tuple[str, int]:
    form = BookingForm(time_of_day=TimeOfDay.MORNING.value)
    boats = db.session.scalars(select(Boat).order_by(Boat.name))
    form.boat.choices = [SelectChoice(boat.id, f"{boat.name} ({boat.seats})") for boat in boats]
    if not form.validate_on_submit():
        return _form_page(form, 400 if form.errors else 200)
    booking = Booking(
        member=current_member(),
        boat_id=form.boat.data,
        day=form.day.data,
        time_of_day=TimeOfDay(form.time_of_day.data),
        note=form.note.data or "",
    )
    if _is_taken(booking):
        form.boat.errors = ["Somebody else has this boat at that time. Choose another boat or another time."]
        return _form_page(form, 409)
    db.session.add(booking)
    db.session.commit()
    flash("Your request is with the stewards.")
    return redirect(url_for("bookings.index"))


@blueprint.post("/<id:booking_id>/cancel")
@allow(Role.MEMBER)
def cancel(booking_id: int) -> Response:
    booking = _booking_or_404(booking_id)
    if booking.member_id != current_member().id:
        abort(403, "Only the member who booked the boat can cancel the booking.")
    if not booking.can_be_cancelled:
        abort(409, f"This booking is {booking.status} or in the past. It cannot be cancelled.")
    booking.status = BookingStatus.CANCELLED
    db.session.commit()
    flash(f"Cancelled: {booking.title}.")
    return redirect(url_for("bookings.index"))


@blueprint.get("/requests")
@allow(Role.STEWARD)
def requests() -> str:
    open_requests = Booking.visible_to(current_member()).where(Booking.status == BookingStatus.REQUESTED)
    found = db.session.scalars(open_requests.order_by(Booking.day, Booking.id).limit(100)).all()
    return render_template("bookings/requests.html", bookings=found)


@blueprint.post("/<id:booking_id>/<any(approve, refuse):decision>")
@allow(Role.STEWARD)
def decide(booking_id: int, decision: str) -> Response:
    booking = _booking_or_404(booking_id)
    if booking.status != BookingStatus.REQUESTED:
        abort(409, f"The booking is already {booking.status}.")
    booking.status = BookingStatus.APPROVED if decision == "approve" else BookingStatus.REFUSED
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        abort(409, "Another booking has this boat at that time. Refuse this one.")
    # After the response, and lost if the process dies before: the member sees it in the portal anyway.
    bridge.background(mail.send, booking.member.email, f"Your booking is {booking.status}", booking.title)
    flash(f"{booking.status.capitalize()}: {booking.title}, for {booking.member.name}.")
    return redirect(url_for("bookings.requests"))


def _booking_or_404(booking_id: int) -> Booking:
    """One that the member may see; of others they do not even learn that they are there."""
    visible = Booking.visible_to(current_member()).where(Booking.id == booking_id)
    booking: Booking = db.session.scalar(visible) or abort(404)
    return booking


def _is_taken(booking: Booking) -> bool:
    same = select(Booking.id).where(
        Booking.boat_id == booking.boat_id,
        Booking.day == booking.day,
        Booking.time_of_day == booking.time_of_day,
        Booking.status == BookingStatus.APPROVED,
    )
    return db.session.scalar(same.limit(1)) is not None


def _form_page(form: BookingForm, status: int) -> tuple[str, int]:
    today = date.today()
    return render_template("bookings/new.html", form=form, first=today, last=today + AHEAD), status
