"""A REST API, as a phone app would call it: bird watchers keep their sightings, and see each other's.

Run it:    .venv/bin/bridge serve demos.api:app
Look at:   http://127.0.0.1:8000/docs           every operation, to read and to try
           http://127.0.0.1:8000/openapi.json   the same for programs
           http://127.0.0.1:8000/phone          a phone app that calls them, and what it sends
           curl -i http://127.0.0.1:8000/sightings   an error; all of them have this shape
It shows:  SQLAlchemy with a session for each request; Pydantic models that both validate and make the
           document; errors as problem details (RFC 9457); tokens; pages that stay true while others write;
           ETags against lost updates; migrations by Alembic.

The data are in a file of SQLite in the folder for temporary files, migrated when the server starts. They may
be elsewhere: API_DATABASE_URL=sqlite:////srv/birds.sqlite. PostgreSQL is migrated by a command of its own,
for who serves the data need not be allowed to change the tables:

    export API_DATABASE_URL=postgresql://birds@localhost/birds
    .venv/bin/alembic -c demos/api/alembic.ini upgrade head
    .venv/bin/bridge serve demos.api:app --workers 4

To read, in this order: models.py, schemas.py, sightings.py, operations.py, problems.py, people.py, tokens.py,
database.py, document.py, static/phone.js.
"""

import asyncio
from collections.abc import AsyncIterator

from flask import Flask

from bridge.flask import Bridge
from demos.api import document, people, phone, problems, sightings
from demos.api.database import database

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024  # bytes; more is a 413
app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider that Flask has by default knows it
bridge = Bridge(app)

app.register_blueprint(people.blueprint)
app.register_blueprint(sightings.blueprint)
app.register_blueprint(document.blueprint)
app.register_blueprint(phone.blueprint)
problems.init_app(app)
app.teardown_appcontext(database.end_session)


@bridge.lifespan
async def open_database(app: Flask) -> AsyncIterator[None]:
    """Find out at the start, not at the first request, that there is no database; and leave it in order."""
    await asyncio.to_thread(database.open)
    try:
        yield
    finally:
        await asyncio.to_thread(database.close)
