"""The asgi.py of deploy/README.md works as it stands, but for where the spans go."""

import json
import re
import signal
from pathlib import Path

from tests.deploy.examples import text
from tests.server.command import Serving

SHOP = """
from flask import Flask

app = Flask(__name__)

@app.get("/")
async def index():
    return "x"
"""


def test_the_documented_module(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    for written, here in {
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter\n": "",
        "OTLPSpanExporter()": "ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + '\\n')",
        "import BatchSpanProcessor": "import BatchSpanProcessor, ConsoleSpanExporter",
    }.items():
        assert code.count(written) == 1
        code = code.replace(written, here)
    (tmp_path / "asgi.py").write_text(code)
    (tmp_path / "shop.py").write_text(SHOP)
    with Serving("asgi:app", "--no-access-log", cwd=tmp_path) as server:
        assert server.get("/").text == "x"
        server.signal(signal.SIGTERM)
        assert server.finish() == 0
    spans = {span["kind"]: span for span in map(json.loads, server.stdout.splitlines())}
    assert spans.keys() == {"SpanKind.SERVER", "SpanKind.INTERNAL"}
    assert spans["SpanKind.INTERNAL"]["parent_id"] == spans["SpanKind.SERVER"]["context"]["span_id"]
    assert "Failed" not in server.stderr
