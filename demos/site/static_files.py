"""Static files that a browser asks for once: a file that has changed has another address."""

from pathlib import Path
from typing import Any

from flask import Flask


def init_app(app: Flask) -> None:
    """Let `url_for("static", …)` add the file's time to its address, and browsers keep it for a year."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 365 * 24 * 60 * 60

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["v"] = int(Path(app.root_path, "static", values["filename"]).stat().st_mtime)
