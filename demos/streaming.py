"""Streaming, in both directions, with plain Flask generators.

Run it:    .venv/bin/bridge serve demos.streaming:app
Look at:   http://127.0.0.1:8000/          a page that grows while it loads
           http://127.0.0.1:8000/export    a large CSV file, made row by row
           http://127.0.0.1:8000/events    server-sent events (curl -N shows them come in)
           http://127.0.0.1:8000/upload    an upload with its progress, and the events as a clock
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
        yield GROWING_PAGE
        for number in range(10):
            yield f"<li>line {number + 1}, at {time.strftime('%H:%M:%S')}</li>\n"
            time.sleep(0.5)
        yield "</ol><p>That is all.</p></main>"

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


@app.get("/upload")
def upload() -> str:
    return UPLOAD_PAGE


@app.put("/hash")
def hash_upload() -> dict[str, int | str]:
    digest = hashlib.sha256()
    size = 0
    while chunk := request.stream.read(65_536):
        digest.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


GROWING_PAGE = """<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A growing page</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1rem/1.6 system-ui, sans-serif; }
  body { max-width: 40rem; margin: auto; padding: 1rem; }
</style>
<main><h1>A growing page</h1><ol>
"""

UPLOAD_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>An upload</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1rem/1.6 system-ui, sans-serif; }
  body { max-width: 40rem; margin: auto; padding: 1rem; }
  input { font: inherit; max-width: 100%; }
  [role=status] { overflow-wrap: anywhere; }
  progress { display: block; width: 100%; margin-top: 1rem; }
</style>
<main>
<h1>An upload</h1>
<p><label>A file (the server reads it, and keeps nothing): <input type="file"></label>
<p><label>Sent so far <progress value="0" max="1"></progress></label>
<p role="status"></p>
<p>The server does other things meanwhile. By server-sent events, it is <span id="time">…</span>
</main>
<script>
  const [input, progress, status, time] =
    ["input", "progress", "[role=status]", "#time"].map(each => document.querySelector(each));

  input.onchange = () => {
    const request = new XMLHttpRequest();  // fetch() does not say how much it has sent
    const tell = text => { status.textContent = text; };
    progress.value = 0;
    request.upload.onprogress = ({loaded, total}) => {
      progress.value = loaded / total;  // nothing piles up: the server takes more when it has read the rest
      tell(`${loaded.toLocaleString("en")} of ${total.toLocaleString("en")} bytes`);
    };
    request.onload = () => tell(
      request.status === 200 ? `The server has read ${request.response.bytes.toLocaleString("en")} bytes; `
        + `their SHA-256 is ${request.response.sha256}` : `The server did not take it: ${request.status}`);
    request.onerror = () => tell("The server did not take all of it.");
    request.responseType = "json";
    request.open("PUT", "hash");
    request.send(input.files[0]);
  };

  new EventSource("events").addEventListener("tick", event => { time.textContent = event.data; });
</script>
"""
