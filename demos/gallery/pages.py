"""The gallery's own pages: a Flask app like any other, which knows nothing of how it is served."""

import importlib.util
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from bridge.flask import any_thread
from demos.gallery.ladder import EXTENSIONS, LAYERS, Rung
from demos.gallery.sources import Source, documents, sources_of

blueprint = Blueprint("pages", __name__)


@dataclass(frozen=True)
class Demo:
    """A rung, as it is shown."""

    rung: Rung
    number: int
    sources: dict[str, Source]
    did_start: bool

    @cached_property
    def has_picture(self) -> bool:
        """Whether `python -m tests.browser.pictures` has made one."""
        return Path(__file__).with_name("static").joinpath("pictures", f"{self.rung.name}.png").is_file()

    @cached_property
    def size(self) -> str:
        """The level, the time, and how much there is to read."""
        python = [source for source in self.sources.values() if source.is_python]
        lines = sum(source.lines_of_text() for source in python)
        files = "1 file" if len(python) == 1 else f"{len(python)} files"
        return f"{self.rung.level}, about {self.rung.minutes} min, {files}, {lines:,} lines of Python"

    @property
    def command(self) -> str:
        """What serves it alone, after `bridge serve`, as one types it in a shell."""
        return " ".join([shlex.quote(self.rung.app), *self.rung.options.split()])


def create_app(ladder: Iterable[Rung], missing: set[str]) -> Flask:
    """Make the app.

    Args:
        ladder: the rungs, from below.
        missing: the names of those that did not start.
    """
    app = Flask(__name__)
    app.extensions["demos"] = {
        rung.name: Demo(rung, number, sources_of(rung.module), rung.name not in missing)
        for number, rung in enumerate(ladder)
    }
    app.register_blueprint(blueprint)
    if importlib.util.find_spec("demos.gallery.xray"):
        xray = importlib.import_module("demos.gallery.xray")
        app.register_blueprint(xray.blueprint, url_prefix="/x-ray")
    app.extensions["documents"] = documents()
    app.context_processor(
        lambda: {"has_xray": "xray" in current_app.blueprints, "has_docs": bool(app.extensions["documents"])}
    )
    app.register_error_handler(HTTPException, show_error)
    app.after_request(_protect)
    return app


@blueprint.get("/")
def index() -> str:
    extensions = [(each, _address_of(each.file)) for each in EXTENSIONS]
    return render_template("index.html", demos=list(_demos().values()), layers=LAYERS, extensions=extensions)


@blueprint.get("/ladder/<name>/")
@blueprint.get("/ladder/<name>/<path:file>")
def demo(name: str, file: str | None = None) -> str:
    found = _demos().get(name) or abort(404)
    source = found.sources.get(file or next(iter(found.sources), "")) or abort(404)
    return render_template(
        "demo.html",
        demo=found,
        source=source,
        demos=list(_demos().values()),
        origin=request.host_url.rstrip("/"),
    )


@blueprint.get("/window/<name>/")
def window(name: str) -> str:
    """A demo by itself, with a way back."""
    return render_template("window.html", demo=_demos().get(name) or abort(404))


@blueprint.get("/docs/")
@blueprint.get("/docs/<path:file>")
def docs(file: str = "README.md") -> str:
    sources: dict[str, Source] = current_app.extensions["documents"]
    return render_template("docs.html", sources=sources, source=sources.get(file) or abort(404))


@blueprint.get("/demos/<name>")
def into_demo(name: str) -> AnyResponse:
    """A demo is mounted below its name and a slash."""
    return redirect(f"{url_for('.index')}demos/{name}/") if name in _demos() else abort(404)


@blueprint.get("/favicon.ico")
def icon() -> AnyResponse:
    """Browsers ask for it when the page of a demo names none."""
    return redirect(url_for("static", filename="favicon.svg"))


def show_error(error: HTTPException) -> tuple[str, int] | HTTPException:
    if error.code is None or error.response is not None:
        return error
    return render_template("error.html", error=error), error.code


def _address_of(file: str) -> str | None:
    """The page that shows a file, named from the root of the repository."""
    for name, shown in _demos().items():
        for source in shown.sources.values():
            if source.path.as_posix().endswith(f"/{file}"):
                return url_for(".demo", name=name, file=source.name)
    return None


def _demos() -> dict[str, Demo]:
    demos: dict[str, Demo] = current_app.extensions["demos"]
    return demos


@any_thread  # it keeps nothing in its thread, so the X-ray's async views may run on the loop
def _protect(response: Response) -> Response:
    """Let browsers load only what is this site's own, and let no other site put it into a frame."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
