"""Streaming, in both directions, with plain Flask generators.

Run it:    bridge serve demos.streaming:app
Look at:   http://127.0.0.1:8000/          a page that grows while it loads
           http://127.0.0.1:8000/export    a large CSV file, made row by row
           http://127.0.0.1:8000/events    server-sent events (curl -N shows them come in)
           curl -T some-large-file http://127.0.0.1:8000/hash
It shows:  each chunk leaves when it is produced, a slow client holds the generator back, a client that
           leaves ends it, and an upload is read while it arrives, never held in memory.
"""

import csv
import hashlib
import io
import time
from collections.abc import Iterator

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/")
def growing_page() -> Response:
    def page() -> Iterator[str]:
        yield "<!doctype html><title>A growing page</title><h1>A growing page</h1><ol>"
        for number in range(10):
            yield f"<li>line {number + 1}, at {time.strftime('%H:%M:%S')}</li>\n"
            time.sleep(0.5)
        yield "</ol><p>That is all."

    return Response(page(), mimetype="text/html")


@app.get("/export")
def export() -> Response:
    rows = request.args.get("rows", 1_000_000, type=int)

    def lines() -> Iterator[str]:
        line = io.StringIO()
        writer = csv.writer(line)
        for number in range(rows):
            writer.writerow((number, number**2, f"row {number}"))
            if line.tell() > 16_384:  # a chunk of a few hundred rows costs one step, not hundreds
                yield line.getvalue()
                line.seek(0)
                line.truncate()
        yield line.getvalue()

    return Response(
        lines(), mimetype="text/csv", headers={"Content-Disposition": "attachment; filename=rows.csv"}
    )


@app.get("/events")
def events() -> Response:
    def ticks() -> Iterator[str]:
        try:
            while True:
                yield f"event: tick\ndata: {time.strftime('%H:%M:%S')}\n\n"
                time.sleep(1)
        finally:
            app.logger.warning("the client has left, the generator is closed")

    return Response(ticks(), mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.put("/hash")
def hash_upload() -> dict[str, int | str]:
    digest = hashlib.sha256()
    size = 0
    while chunk := request.stream.read(65_536):
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}
