"""The extensions, without an app: `create_app` gives each its app, so that there may be several."""

from pathlib import Path

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from bridge.flask import Bridge
from demos.portal.models import Base

# The models are plain SQLAlchemy, with its types; this has the engine, and a session for each request.
db = SQLAlchemy(metadata=Base.metadata)
migrate = Migrate(db=db, directory=str(Path(__file__).parent / "migrations"))
login = LoginManager()
csrf = CSRFProtect()
bridge = Bridge()
