"""The pages: a blueprint, which create_app registers."""

from flask import Blueprint, redirect, render_template, url_for
from werkzeug.wrappers import Response

from demos.guestbook.package import database
from demos.guestbook.package.forms import EntryForm

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> str:
    return render_template("guestbook.html", entries=database.newest(), form=EntryForm())


@blueprint.post("/")
def sign() -> Response | tuple[str, int]:
    form = EntryForm()  # it reads the request
    if not form.validate():
        return render_template("guestbook.html", entries=database.newest(), form=form), 422
    database.add(form.name.data, form.text.data)
    return redirect(url_for(".index"), 303)
