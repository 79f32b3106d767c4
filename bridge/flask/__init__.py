"""The Flask extension: what belongs to the server's event loop, from within a Flask app.

    from bridge.flask import Bridge, EventSource, stream

    app = Flask(__name__)
    bridge = Bridge(app)

All of it works wherever Bridge serves the app. Elsewhere, such as in Flask's test client, under `flask run`
or gunicorn, the app behaves as Flask apps do there: `stream` and `EventSource` run their iterable on an event
loop of their own, `background` calls its function when the response is closed, there is no `state`, and a
websocket is answered by an error that says what it needs.

`any_thread` marks hooks that may be called in any thread, beside which async views can run on the loop.
"""

from bridge.flask.events import EventSource, ServerSentEvent
from bridge.flask.extension import Bridge, State
from bridge.flask.functions import any_thread
from bridge.flask.streams import stream
from bridge.flask.websockets import WebSocket

__all__ = ["Bridge", "EventSource", "ServerSentEvent", "State", "WebSocket", "any_thread", "stream"]
