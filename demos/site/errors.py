"""What goes wrong, said in the site's own design, and in the visitor's language."""

from flask import Flask, Response, render_template
from flask_babel import lazy_gettext
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

# Of each status a title, and what to do. A status that is not here has Werkzeug's own words.
_TEXTS = {
    400: (
        lazy_gettext("We do not understand this request"),
        lazy_gettext("Something in your request is wrong. Go back and try again."),
    ),
    404: (
        lazy_gettext("Page not found"),
        lazy_gettext("Perhaps the event is over, or there is a typo in the address."),
    ),
    405: (
        lazy_gettext("This page cannot do that"),
        lazy_gettext("You can only read it, or it takes another kind of request."),
    ),
    413: (
        lazy_gettext("Your text is too long"),
        lazy_gettext("A form can hold 64 KB. Go back and shorten your text."),
    ),
    500: (
        lazy_gettext("Something broke, and it is our fault"),
        lazy_gettext("It is in our log, and we will fix it. Please try again later."),
    ),
}

_CSRF_TEXTS = (
    lazy_gettext("This form has expired"),
    lazy_gettext("Go back, reload the page and send the form again. This site needs its cookie for that."),
)


def init_app(app: Flask) -> None:
    """Have all errors shown here: those that views and Werkzeug raise, and, as a 500, all that is a bug."""
    app.register_error_handler(HTTPException, _show)


def _show(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error  # an answer, not an error
    texts = _CSRF_TEXTS if isinstance(error, CSRFError) else _TEXTS.get(error.code)
    title, text = texts or (error.name, error.description)
    page = render_template("error.html", code=error.code, title=title, text=text)
    return Response(page, error.code, headers=_headers(error))


def _headers(error: HTTPException) -> list[tuple[str, str]]:
    """Those that belong to the error, such as Allow."""
    return [(name, value) for name, value in error.get_headers() if name.lower() != "content-type"]
