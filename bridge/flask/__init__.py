"""The Flask extension, and where and how the views of a Flask app run.

    from bridge.flask import Bridge, EventSource, stream

    app = Flask(__name__)
    bridge = Bridge(app)

It all works wherever Bridge serves the app. Elsewhere (Flask's test client, `flask run`, gunicorn) the app
behaves as Flask apps do there: `stream` and `EventSource` run their iterable on an event loop of their own,
`background` calls its function when the response is closed, `state` has what plain lifespans yield, and
websockets fail with an error that says what they need.

Several loops may serve an app, each in its thread. An app is adopted under one lock; states and greenlets are
kept for each loop, in dicts that are replaced as a whole, under a lock. What `FlaskViews` remembers of
requests and endpoints needs none: two threads at worst write the same entry, and `blocked` may miss one.

This room knows Flask, and no host. `functions`, `placement` and `routing` are pure: they look at the app.
"""

from bridge.flask.events import EventSource, ServerSentEvent
from bridge.flask.extension import Bridge, State
from bridge.flask.functions import any_thread
from bridge.flask.streams import stream
from bridge.flask.websockets import WebSocket

__all__ = ["Bridge", "EventSource", "ServerSentEvent", "State", "WebSocket", "any_thread", "stream"]
