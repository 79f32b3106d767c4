"""What is built into each framework, and what had to be chosen: in words, with the files concerned."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Concern:
    """One thing that an application needs.

    Args:
        name: its name.
        flask: how `demos/api` does it, and what was chosen for it.
        django: how it is done here, and what is built into Django.
        better: which needs less for it: "flask", "django", or neither.
        flask_files: the files, or folders of them, in `demos/api`.
        django_files: the same, here.
    """

    name: str
    flask: str = ""
    django: str = ""
    better: str = ""
    flask_files: tuple[str, ...] = ()
    django_files: tuple[str, ...] = ()


CONCERNS = (
    Concern(
        "Models",
        "Chosen: SQLAlchemy 2, with typed columns. The app opens and closes sessions and connections itself.",
        "Built in. One class is the table, its rules and the admin's form. Django opens and closes "
        "connections for "
        "each request. Types need django-stubs.",
        "django",
        ("models.py", "database.py"),
        ("models.py",),
    ),
    Concern(
        "Migrations",
        "Chosen: Alembic. Written by hand, each in a transaction of its own; its environment is a file of "
        "the app.",
        "Built in: makemigrations writes them from the models, migrate runs them.",
        "django",
        ("migrations/",),
        ("migrations/",),
    ),
    Concern(
        "Validation",
        "Chosen: Pydantic 2. Types are strict, and each mistake comes with a JSON pointer.",
        "Forms are built in. They validate text, as HTML forms send it, so the app checks the types of JSON "
        "by hand. "
        "Most projects choose a library here: Django REST framework, or Ninja with Pydantic.",
        "flask",
        ("schemas.py",),
        ("forms.py",),
    ),
    Concern(
        "Views and serialisation",
        "Functions; Pydantic writes the JSON. This app also changes and deletes, and its ETags prevent lost "
        "updates.",
        "Classes, one for each address; a dict by hand. This slice neither changes nor deletes.",
        "",
        ("sightings.py", "people.py", "operations.py"),
        ("sightings.py", "people.py", "operations.py"),
    ),
    Concern(
        "Routing",
        "Built in (Werkzeug): a decorator beside each view. A wrong method gets 405 with Allow.",
        "Built in: one file lists all routes. Its UUID converter takes no capitals, so the app has its own.",
        "",
        (),
        ("urls.py",),
    ),
    Concern(
        "Errors",
        "One handler for all of Werkzeug's exceptions, which have status, headers and description.",
        "One handler for each of four statuses; the app catches 405 and 413 one by one.",
        "flask",
        ("problems.py",),
        ("problems.py",),
    ),
    Concern(
        "Users and logins",
        "Written for this app, with Werkzeug's hashes: users, tokens that can be revoked, a limit of wrong "
        "passwords.",
        "Users, hashes, permissions and signatures are built in. Tokens are written for this app, and cannot "
        "be "
        "revoked. A limit of wrong passwords would be a choice: django-axes.",
        "django",
        ("tokens.py",),
        ("tokens.py",),
    ),
    Concern(
        "Admin",
        "None. Flask-Admin would be the choice.",
        "Built in: list, search, filters, forms, history, permissions. Many choose Django for it.",
        "django",
        (),
        ("admin.py",),
    ),
    Concern(
        "OpenAPI",
        "Written for this app, from the routes and Pydantic's models. APIFlask or flask-smorest would do it "
        "for you.",
        "None. Ninja brings it, or drf-spectacular beside REST framework.",
        "flask",
        ("document.py",),
        (),
    ),
    Concern(
        "Settings and start",
        "An app is an object; two settings. Several apps in one process are nothing special.",
        "A module that the environment names; most of it lists what is built in. One project in a process.",
        "flask",
        ("__init__.py",),
        ("__init__.py", "__main__.py", "settings.py", "data.py"),
    ),
    Concern(
        "Forms and pages",
        "Jinja2 is built in. Forms and their protection would be a choice: Flask-WTF.",
        "Templates, forms and protection against forgery are built in. Templates cannot call functions with "
        "arguments.",
        "django",
    ),
    Concern(
        "Async",
        "Async views run on Bridge's loop, in the same app; SQLAlchemy has an async session.",
        "Under ASGI, async views run on the loop; here, under WSGI, in a thread. The ORM's async methods use "
        "threads, and have no transactions.",
    ),
    Concern(
        "Uploads without a length",
        "The view reads them while they arrive, as Bridge sets wsgi.input_terminated.",
        "Django's WSGI handler takes a body without Content-Length, such as a chunked one, for an empty one.",
        "flask",
    ),
    Concern(
        "This page",
        "",
        "It is part of the count, too.",
        "",
        (),
        ("comparison.py", "lines.py", "side_by_side.py"),
    ),
)
