"""The same two routes on Ray Serve, three times; `python -m benchmarks.apps.on_ray PORT` ends with its input.

`/fastapi` is FastAPI through Ray's own `ingress`, `/bridge-fastapi` the same app through
`bridge.ray.deployment`, `/bridge-flask` the routes in Flask through that.
"""

import logging
import os
import sys
from typing import Any

import ray
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask
from ray import serve

import bridge.ray

READY = "ready"

fastapi_app = FastAPI()
flask_app = Flask(__name__)


@fastapi_app.get("/plain", response_class=PlainTextResponse)
def fastapi_plain() -> str:
    """Run in a thread."""
    return "Hello, World!"


@fastapi_app.get("/async", response_class=PlainTextResponse)
async def fastapi_async() -> str:
    """Run on the loop."""
    return "Hello, World!"


@flask_app.get("/plain")
def flask_plain() -> tuple[str, dict[str, str]]:
    """Run in a thread."""
    return "Hello, World!", {"Content-Type": "text/plain; charset=utf-8"}


@flask_app.get("/async")
async def flask_async() -> tuple[str, dict[str, str]]:
    """Run on the loop."""
    return "Hello, World!", {"Content-Type": "text/plain; charset=utf-8"}


def main(port: int) -> None:
    """Deploy, say so, and serve until the input ends."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")

    @serve.deployment(max_ongoing_requests=40)
    @serve.ingress(fastapi_app)
    class Own:
        """Ray's own way."""

    own: Any = Own  # the decorator has made a deployment of it
    deployed: dict[str, Any] = {
        "fastapi": own.bind(),
        "bridge-fastapi": bridge.ray.deployment("benchmarks.apps.on_ray:fastapi_app"),
        "bridge-flask": bridge.ray.deployment("benchmarks.apps.on_ray:flask_app"),
    }
    quiet = {"enable_access_log": False}
    targets = [
        serve.RunTarget(each, name=name, route_prefix=f"/{name}", logging_config=quiet)
        for name, each in deployed.items()
    ]
    serve.run_many(targets)
    print(READY, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
