"""Forty requests at once of an async view, and whether Sentry mixes up what it reports of them."""

import asyncio
from typing import Any

import sentry_sdk
from flask import Flask
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.transport import Transport

from bridge import WSGIToASGI
from bridge.testing import Client
from tests.flask.places import place

REPORTED: list[tuple[str, Any]] = []


class Kept(Transport):
    """Sends nothing."""

    def capture_envelope(self, envelope: Envelope) -> None:
        REPORTED.extend((item.type or "", item.payload.json) for item in envelope.items)


def make_app() -> Flask:
    app = Flask("reported")

    @app.get("/<int:number>")
    async def view(number: int) -> str:
        sentry_sdk.set_tag("number", str(number))
        await asyncio.sleep(0.01)
        with sentry_sdk.start_span(op="test", name=f"span {number}"):
            await asyncio.sleep(0.01)
        sentry_sdk.capture_message(f"message {number}")
        if number % 5 == 0:
            raise ZeroDivisionError(str(number))
        return place()

    return app


def is_mixed(report: Any) -> bool:
    """Whether a report says things of two requests."""
    number = report.get("tags", {}).get("number")
    asked = report.get("request", {})
    if not asked.get("url", "").endswith(f"/{number}") or asked.get("query_string") != f"q={number}":
        return True
    spans = {span["description"] for span in report.get("spans", []) if span.get("op") == "test"}
    return report.get("message", f"message {number}") != f"message {number}" or bool(
        spans - {f"span {number}"}
    )


async def main() -> None:
    sentry_sdk.init(
        "https://key@example.org/1",
        transport=Kept,
        integrations=[FlaskIntegration()],
        default_integrations=False,
        traces_sample_rate=1.0,
    )
    async with Client(WSGIToASGI(make_app(), blocking_threshold=0)) as client:
        answers = await asyncio.gather(*(client.get(f"/{number}?q={number}") for number in range(40)))
    places = {answer.text for answer in answers if answer.status_code == 200}
    reports = [report for kind, report in REPORTED if kind in ("event", "transaction")]
    messages = sum("message" in report for report in reports)
    exceptions = sum("exception" in report for report in reports)
    transactions = sum(kind == "transaction" for kind, _ in REPORTED)
    print(
        f"places {', '.join(places)}, {messages} messages, {exceptions} exceptions, "
        f"{transactions} transactions, {sum(map(is_mixed, reports))} mixed"
    )


if __name__ == "__main__":
    asyncio.run(main())
