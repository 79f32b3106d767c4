"""The front page."""

from flask import Blueprint, render_template

from demos.portal.demo_data import ACCOUNTS, PASSWORD
from demos.portal.security import public

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
@public
def index() -> str:
    return render_template("index.html", accounts=ACCOUNTS, password=PASSWORD)
