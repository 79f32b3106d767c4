import httpx
from flask import Flask

from bridge import WSGIToASGI
from tests.hosts import Host


def test_a_flask_app_is_served(host: Host) -> None:
    app = Flask(__name__)

    @app.get("/")
    def hello() -> str:
        return "Hello"

    with host(WSGIToASGI(app)) as running, httpx.Client(base_url=running.url) as client:
        assert client.get("/").text == "Hello"
