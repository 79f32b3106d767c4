"""deploy/ray/deployment.py: it makes a Ray Serve application, of an app that its replicas load."""

import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.testing import Client
from tests.deploy.examples import DEPLOY


@pytest.fixture(autouse=True)
def forgets_its_app() -> Iterator[None]:
    """Others have a module of that name, too."""
    yield
    sys.modules.pop("shop", None)


async def test_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's, while it is imported
        pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install 'ray[serve]'")
    (tmp_path / "shop.py").write_text(
        "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index():\n    return 'the shop'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    deployment: Any = runpy.run_path(str(DEPLOY / "ray" / "deployment.py"))["application"]._bound_deployment
    assert (deployment.name, deployment.max_ongoing_requests) == ("shop", 40)
    replica = deployment.func_or_class.__bases__[0](*deployment.init_args)
    async with Client(await replica.__serve_build_asgi_app__()) as client:
        assert (await client.get("/")).text == "the shop"
