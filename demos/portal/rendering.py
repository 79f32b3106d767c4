"""What templates know beside what a view gives them."""

import time
from datetime import datetime

from flask import Flask
from flask_login import current_user
from markupsafe import Markup

from demos.portal.models import Role


def register(app: Flask) -> None:
    """Add filters, and who is looking."""
    app.add_template_filter(_moment, "moment")
    app.context_processor(_context)


def _context() -> dict[str, object]:
    return {"Role": Role, "member": current_user if current_user.is_authenticated else None}


def _moment(seconds: float) -> Markup:
    """A moment as people and programs read it, in the time of the club house, which is the server's."""
    moment = datetime.fromtimestamp(seconds).astimezone()
    said = f"{moment:%H:%M:%S}" if time.time() - seconds < 12 * 3600 else f"{moment:%d %b %Y, %H:%M}"
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), said)
