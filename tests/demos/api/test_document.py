"""The document is true: Schemathesis calls the API as it says, and as it forbids; and it follows a prefix."""

import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug.test import Client

from demos.api import app

CONFIG = Path(__file__).parent / "schemathesis.toml"


@pytest.mark.timeout(180)
def test_schemathesis(address: str, token: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    command += [f"{address}/openapi.json", "--header", f"Authorization: Bearer {token}", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 7" in done.stdout


def test_every_address_is_under_the_prefix() -> None:
    client = Client(app)
    document = client.get("/openapi.json", base_url="http://localhost/birds/").get_json()
    assert document["servers"] == [{"url": "/birds"}]
    assert client.get("/", base_url="http://localhost/birds/").location == "/birds/docs"
    page = client.get("/docs", base_url="http://localhost/birds/").text
    assert '"/birds/static/docs.js"' in page
    assert 'data-path="/birds/sightings"' in page
    assert 'href="/docs' not in page
