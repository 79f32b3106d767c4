"""The pages, in one blueprint for each part of the portal; a part's forms are beside its views."""

from flask import Flask
from werkzeug.routing import IntegerConverter

from demos.portal.blueprints import account, admin, bookings, pages, reports


class IdConverter(IntegerConverter):
    """`<id:booking_id>`: a number that a database can hold; every other is a 404, not an error there."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **(options | {"max": 2**31 - 1}))  # type: ignore[arg-type]  # passed on


def register(app: Flask) -> None:
    """Add all of them, each under its own path."""
    app.url_map.converters["id"] = IdConverter
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(account.blueprint, url_prefix="/account")
    app.register_blueprint(bookings.blueprint, url_prefix="/bookings")
    app.register_blueprint(reports.blueprint, url_prefix="/reports")
    app.register_blueprint(admin.blueprint, url_prefix="/admin")
