"""Sets headers that the server would set as well."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index() -> str:
    return "as it is"


@app.get("/own-<any(date, server):name>")
def own(name: str) -> tuple[str, dict[str, str]]:
    return "", {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"} if name == "date" else {"Server": "mine"}
