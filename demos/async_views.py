"""Async views: unported Flask on the server's own event loop.

Run it:    .venv/bin/bridge serve demos.async_views:app
Look at:   http://127.0.0.1:8000/          what there is
           http://127.0.0.1:8000/fan-out   ten slow answers, fetched at once, in the time of one
           http://127.0.0.1:8000/legacy    a plain view that uses the same client
           http://127.0.0.1:8000/clock     a clock, by server-sent events
           curl -N 'http://127.0.0.1:8000/tokens?prompt=why+is+the+sky+blue'
It shows:  one httpx client for the life of the server; views that wait without a thread each; streams whose
           generator is cancelled when the client leaves; and work that goes on after the response.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
from flask import Flask, Response, request

from bridge import run_on_loop
from bridge.flask import Bridge, EventSource, stream

app = Flask(__name__)
bridge = Bridge(app)


@bridge.lifespan
async def clients(app: Flask) -> AsyncIterator[dict[str, object]]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(slow_upstream)) as http:
        yield {"http": http}


@app.get("/")
async def index() -> str:
    return CLOCK_PAGE


@app.get("/fan-out")
async def fan_out() -> dict[str, object]:
    start = time.perf_counter()
    urls = [f"http://upstream/{number}" for number in range(10)]
    answers = await asyncio.gather(*(bridge.state.http.get(url) for url in urls))
    return {"answers": [answer.text for answer in answers], "seconds": time.perf_counter() - start}


@app.get("/legacy")
def legacy() -> str:
    answer: httpx.Response = run_on_loop(bridge.state.http.get("http://upstream/legacy"))
    return answer.text


@app.get("/clock")
async def clock() -> EventSource:
    async def ticks() -> AsyncIterator[dict[str, str]]:
        while True:
            yield {"event": "tick", "data": time.strftime("%H:%M:%S")}
            await asyncio.sleep(1)

    return EventSource(ticks())


@app.get("/tokens")
async def tokens() -> Response:
    async def answer() -> AsyncIterator[str]:
        for word in ("You asked:", *request.args.get("prompt", "nothing").split(), "…", "who", "knows?"):
            yield word + " "
            await asyncio.sleep(0.1)

    return Response(stream(answer()), mimetype="text/plain")


@app.post("/orders")
async def order() -> tuple[str, int]:
    bridge.background(send_receipt, request.args.get("to", "nobody"))
    return "ordered; the receipt is on its way\n", 202


async def send_receipt(to: str) -> None:
    await asyncio.sleep(1)
    app.logger.warning("a receipt for %s", to)


async def slow_upstream(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # ASGI, in its shortest
    """Stands for a service elsewhere, so that the demo needs none."""
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"answer to {scope['path']}".encode()})


CLOCK_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Async views</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1rem/1.6 system-ui, sans-serif; }
  body { max-width: 40rem; margin: auto; padding: 1rem; }
  #time { font-variant-numeric: tabular-nums; }
</style>
<main>
<h1>It is <span id="time">…</span></h1>
<p>An async view sends the time, as server-sent events.</p>
<ul>
  <li><a href="fan-out">Ten slow answers at once</a>, in the time of one
  <li><a href="legacy">A plain view</a> that uses the same client
  <li><a href="tokens?prompt=why+is+the+sky+blue">Words that come one by one</a>
</ul>
</main>
<script>
  const time = document.getElementById("time");
  new EventSource("clock").addEventListener("tick", event => { time.textContent = event.data; });
</script>
"""
