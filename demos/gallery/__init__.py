"""All demos in one server: a ladder, each rung beside its source, and an X-ray of a request.

Run it:    .venv/bin/bridge serve demos.gallery:app
Look at:   http://127.0.0.1:8000/         the layers of a request, and the rungs
           http://127.0.0.1:8000/x-ray/   one request, on its way through all layers
It shows:  apps of Flask, FastAPI, Django and plain WSGI, mounted in one ASGI app with their lifespans; and
           what a public server refuses or hides: other files, large bodies, the insides of errors.
To read:   composition.py, limits.py, sources.py, pages.py; ladder.py is the text

Each demo keeps its data where it keeps them when it is served alone. A demo that does not start is left out:
its page says so, and the log says why.
"""

from demos.gallery.composition import create_app

app = create_app()
