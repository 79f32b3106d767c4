"""A chat room, twice: with Flask-Sock, a thread for each visitor, and async, on the server's own event loop.

Run it:    .venv/bin/bridge serve demos.chat:app
Look at:   http://127.0.0.1:8000/threads and http://127.0.0.1:8000/loop in two windows: it is the same room
It shows:  Flask-Sock unmodified on an ASGI server; the same as an async handler, without a thread; what was
           said before, out of SQLite; and how threads and the loop reach one another.

What is said is kept in the file that CHAT_DATABASE names, or else in one in the folder for temporary files.
"""

import asyncio
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from flask import Flask, render_template_string, url_for
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server
from werkzeug.wrappers import Response

from bridge.flask import Bridge, WebSocket

app = Flask(__name__)
bridge = Bridge(app)
sock = Sock(app)

DATABASE = Path(os.environ.get("CHAT_DATABASE") or Path(tempfile.gettempdir(), "bridge-chat.sqlite"))


class Room:
    """Who is here, and what is said. Threads and the loop may call it, one after the other."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[str], object]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def visit(self, listener: Callable[[str], object]) -> Iterator[list[str]]:
        """Subscribe to the messages from here on; return earlier ones."""
        with self._lock:
            self._listeners.add(listener)
        try:
            yield self._last_messages()
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def say(self, said: str | bytes) -> str | None:
        """Keep what a visitor says, and tell all of it; or return what is wrong with it."""
        try:
            words = json.loads(said)
            name, text = words["name"].strip(), words["text"].strip()
        except (ValueError, TypeError, KeyError, AttributeError):
            return json.dumps({"error": 'a message is {"name": …, "text": …}'})
        if not (0 < len(name) <= 40 and 0 < len(text) <= 500):
            return json.dumps({"error": "a name has 1 to 40 characters, a text 1 to 500"})
        message = json.dumps({"name": name, "text": text, "time": time.strftime("%H:%M")})
        with self._lock:
            with closing(_database()) as database, database:
                database.execute("INSERT INTO messages (message) VALUES (?)", (message,))
            listeners = list(self._listeners)
        for listener in listeners:
            with suppress(ConnectionClosed):  # one who is just leaving
                listener(message)
        return None

    def _last_messages(self) -> list[str]:
        with closing(_database()) as database:
            rows = database.execute("SELECT message FROM messages ORDER BY id DESC LIMIT 50").fetchall()
        return [message for (message,) in reversed(rows)]


def _database() -> sqlite3.Connection:
    database = sqlite3.connect(DATABASE)
    database.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, message TEXT NOT NULL)")
    return database


room = Room()


# The page


@app.get("/")
def index() -> Response:
    return app.redirect(url_for("page", version="loop"))


@app.get("/<any(threads, loop):version>")
def page(version: str) -> str:
    return render_template_string(PAGE, version=version)


# With Flask-Sock: a plain function, in a thread of its own that waits for the next message


@sock.route("/threads/ws")
def chat_in_a_thread(ws: Server) -> None:
    with room.visit(ws.send) as messages:
        for message in messages:
            ws.send(message)
        while True:
            wrong = room.say(ws.receive())
            if wrong:
                ws.send(wrong)


# Async: the same on the loop. What might block it, here SQLite, is left to a thread


@bridge.websocket("/loop/ws")
async def chat_on_the_loop(ws: WebSocket) -> None:
    loop = asyncio.get_running_loop()

    def tell(message: str) -> None:  # called in whatever thread somebody speaks
        asyncio.run_coroutine_threadsafe(ws.send(message), loop)

    with room.visit(tell) as messages:
        for message in messages:
            await ws.send(message)
        async for said in ws:
            wrong = await asyncio.to_thread(room.say, said)
            if wrong:
                await ws.send(wrong)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Chat</title>
<style>
  :root { color-scheme: light dark; background: Canvas; font: 1rem/1.5 system-ui, sans-serif;
          --accent: light-dark(#1d4ed8, #93b4fd); --quiet: light-dark(#5b616a, #a3a7ae); --line: #8886; }
  body { display: flex; flex-direction: column; gap: .75rem; box-sizing: border-box; height: 100dvh;
         max-width: 40rem; margin: auto; padding: 1rem; }
  header, nav, form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
  header { justify-content: space-between; }
  main { display: contents; }
  h1, ul { margin: 0; }
  a { color: var(--accent); }
  [aria-current] { color: inherit; font-weight: 700; text-decoration: none; }
  #state { padding: 0 .75rem; border: 1px solid var(--line); border-radius: 1rem; font-size: .875rem; }
  [role=log] { flex: 1; overflow: auto; padding: .5rem .75rem; border: 1px solid var(--line);
               border-radius: .5rem; }
  ul { padding: 0; list-style: none; overflow-wrap: anywhere; }
  time { color: var(--quiet); font-size: .875rem; font-variant-numeric: tabular-nums; }
  form { gap: .5rem; }
  input, button { box-sizing: border-box; padding: .5rem .75rem; border: 1px solid var(--quiet);
                  border-radius: .4rem; background: Canvas; color: CanvasText; font: inherit; }
  [name=name] { flex: 1 7rem; min-width: 0; }
  [name=text] { flex: 3 8rem; min-width: 0; }
  button { border-color: var(--accent); background: var(--accent); color: Canvas; cursor: pointer; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
</style>
<header>
  <h1>Chat</h1>
  <span id="state" role="status">connecting …</span>
</header>
<nav aria-label="How the server runs it">
  {% for name, title in [("loop", "On the event loop"), ("threads", "In a thread, with Flask-Sock")] -%}
  <a href="{{ url_for('page', version=name) }}"
    {%- if name == version %} aria-current="page"{% endif %}>{{ title }}</a>
  {% endfor %}
</nav>
<main>
<div role="log" aria-label="Messages" tabindex="0"><ul></ul></div>
<form>
  <input name="name" aria-label="Your name" placeholder="Your name" maxlength="40" required>
  <input name="text" aria-label="Message" placeholder="Message" maxlength="500" autocomplete="off" required>
  <button>Send</button>
</form>
</main>
<script>
  const [form, list, state] = ["form", "ul", "#state"].map(each => document.querySelector(each));
  let socket;

  function connect() {
    const address = new URL("{{ version }}/ws", location);  // beside this page, wherever that is mounted
    address.protocol = address.protocol.replace("http", "ws");
    socket = new WebSocket(address);
    socket.onopen = () => { list.replaceChildren(); state.textContent = "connected"; };
    socket.onmessage = event => show(JSON.parse(event.data));
    socket.onclose = () => { state.textContent = "disconnected; trying again …"; setTimeout(connect, 1000); };
  }

  function show({name, text, time, error}) {
    if (error) { state.textContent = error; return; }
    const line = document.createElement("li");
    const when = document.createElement("time");
    when.textContent = time;
    line.append(when, ` ${name}: ${text}`);  // as text, whatever it is
    list.append(line);
    line.scrollIntoView();
  }

  form.onsubmit = event => {
    event.preventDefault();
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({name: form.elements.name.value, text: form.elements.text.value}));
    form.elements.text.value = "";
  };

  connect();
</script>
"""
