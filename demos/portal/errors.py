"""Errors, each as a page that says what to do."""

from flask import Flask, current_app, render_template, url_for
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

Answer = tuple[str, int, list[tuple[str, str]]]


def register(app: Flask) -> None:
    """Answer errors by pages of the portal."""
    app.register_error_handler(HTTPException, _page)
    app.register_error_handler(CSRFError, _form_expired)
    app.register_error_handler(500, _broken)
    app.register_error_handler(OperationalError, _database_is_away)


def _page(error: HTTPException) -> Answer:
    if error.response is not None:
        return error.response  # type: ignore[return-value]  # a redirect of the routing, as it is
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    page = render_template("error.html", title=error.name, text=error.description)
    return page, error.code or 500, headers


def _form_expired(error: CSRFError) -> Answer:
    text = f"{error.description} Go back, reload the page and send the form again."
    return render_template("error.html", title="This form has expired", text=text), 400, []


def _broken(error: Exception) -> Answer:
    return _bare("Something broke, and it is our fault", "It is in our log. Please try again later."), 500, []


def _database_is_away(error: OperationalError) -> Answer:
    current_app.logger.error("the database does not answer: %s", error.orig)
    text = "Our database does not answer. Please try again in a moment."
    return _bare("Back in a moment", text), 503, [("Retry-After", "10")]


def _bare(title: str, text: str) -> str:
    """A page without who is looking: to ask the database for that may be what fails."""
    template = current_app.jinja_env.get_template("bare.html")
    return template.render(title=title, text=text, style=url_for("static", filename="portal.css"))
