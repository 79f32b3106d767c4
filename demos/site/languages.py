"""Which language a visitor reads, and what is written in it.

The texts in pages and templates are English. After a change to one of them, in demos/site:

    pybabel extract -F babel.cfg -k lazy_gettext --no-location --omit-header -o messages.pot .
    pybabel update -i messages.pot -d translations --no-fuzzy-matching   # then translate what is new
    pybabel compile -d translations
"""

from datetime import UTC, datetime

from babel import negotiate_locale
from flask import Flask, Response, request, session
from flask_babel import Babel, format_timedelta, get_locale

from demos.site.events import TIMEZONE

LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français"}


def init_app(app: Flask) -> None:
    """Let templates format dates and translate texts, each for its visitor."""
    Babel(app, default_timezone=str(TIMEZONE), locale_selector=_language)
    app.add_template_filter(from_now)
    app.context_processor(lambda: {"language": get_locale().language, "languages": LANGUAGES})
    app.after_request(_say_what_it_depends_on)


def from_now(moment: datetime) -> str:
    """As in `in 3 hours` or `2 days ago`."""
    return str(format_timedelta(moment - datetime.now(UTC), add_direction=True))


def _language() -> str:
    """What the visitor has chosen, now or earlier; or else what the browser asks for."""
    if request.args.get("language") in LANGUAGES:
        session["language"] = request.args["language"]
    if session.get("language") in LANGUAGES:
        return str(session["language"])
    wanted = [language for language, quality in request.accept_languages if quality > 0]
    return negotiate_locale(wanted, LANGUAGES, sep="-") or "en"


def _say_what_it_depends_on(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.vary.add("Accept-Language")  # Flask adds Cookie, as the session was read
        response.content_language.add(get_locale().language)
    return response
