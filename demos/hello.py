"""The smallest Flask app.

Run it:    .venv/bin/bridge serve demos.hello:app
Look at:   http://127.0.0.1:8000/
It shows:  an ordinary Flask app on an ASGI server, without a change to it.
"""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, World!"
