"""The pages: what is on, one event, and the form that announces another."""

from typing import cast

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from demos.site.events import Event, Events
from demos.site.forms import EventForm

blueprint = Blueprint("pages", __name__)

ON_A_PAGE = 10


@blueprint.get("/")
def index() -> str:
    page = request.args.get("page", 1, type=int)
    if not 1 <= page <= 1000:
        abort(404)
    found = _events().upcoming(
        limit=ON_A_PAGE + 1, offset=(page - 1) * ON_A_PAGE
    )  # one more: is there a next?
    if page > 1 and not found:
        abort(404)
    return render_template(
        "events.html",
        events=found[:ON_A_PAGE],
        past=_events().past(limit=5) if page == 1 else [],
        page=page,
        more=len(found) > ON_A_PAGE,
    )


@blueprint.get("/events/<int(max=999_999_999):number>")
def event(number: int) -> str:
    found = _events().find(number)
    if found is None:
        abort(404)
    return render_template("event.html", event=found)


@blueprint.route("/announce", methods=["GET", "POST"])
def announce() -> str | tuple[str, int] | Response:
    if request.method == "GET":
        return render_template("announce.html", form=EventForm(formdata=None))
    form = EventForm(request.form)
    if not form.validate():
        return render_template("announce.html", form=form), 422
    number = _events().add(Event(form.title.data, form.place.data, form.moment(), form.text.data))
    flash(gettext("Thank you! Your event is announced."))
    return redirect(url_for("pages.event", number=number), 303)  # so that a reload does not send it again


def _events() -> Events:
    return cast(Events, current_app.extensions["events"])
