"""What came with the framework, and what had to be chosen: in words, next to the files they speak of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Concern:
    """One thing that an application needs.

    Args:
        name: its name.
        flask: how it is done in `demos/api`, with what was chosen for it.
        django: how it is done here, with what came with Django.
        better: where it is done with less: "flask", "django", or neither.
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
        "Chosen: SQLAlchemy 2, with typed columns. The session, its end and the pool of connections are "
        "ours.",
        "Came along. One class is the table, its rules and the admin's form. Connections are opened and "
        "closed for "
        "each request. No types without django-stubs.",
        "django",
        ("models.py", "database.py"),
        ("models.py",),
    ),
    Concern(
        "Migrations",
        "Chosen: Alembic. Written by hand, one transaction at a time; its environment is a file of ours.",
        "Came along: makemigrations writes them from the models, migrate runs them.",
        "django",
        ("migrations/",),
        ("migrations/",),
    ),
    Concern(
        "Validation",
        "Chosen: Pydantic 2. Types are strict, JSON pointers to each mistake come with it.",
        "Forms came along. They validate text, as HTML forms send it, so the types of JSON are checked "
        "by hand. "
        "Most projects choose here, too: Django REST framework, or Ninja with Pydantic.",
        "flask",
        ("schemas.py",),
        ("forms.py",),
    ),
    Concern(
        "Views and serialisation",
        "Functions; Pydantic writes the JSON. The api also changes, deletes, and has ETags against lost "
        "updates.",
        "Classes, one for each address; a dict by hand. There is no changing and no deleting in this slice.",
        "",
        ("sightings.py", "people.py", "operations.py"),
        ("sightings.py", "people.py", "operations.py"),
    ),
    Concern(
        "Routing",
        "Came along (Werkzeug): a decorator beside each view, 405 with Allow by itself.",
        "Came along: one file that lists all. Its converter for UUIDs knows no capitals, so there is "
        "one of ours.",
        "",
        (),
        ("urls.py",),
    ),
    Concern(
        "Errors",
        "One handler for all of Werkzeug's exceptions, which have status, headers and description.",
        "A handler for each of four statuses; 405 and 413 are caught one by one.",
        "flask",
        ("problems.py",),
        ("problems.py",),
    ),
    Concern(
        "Users and logins",
        "Ours, with Werkzeug's hashes: users, tokens in a table that can be taken back, a limit of "
        "wrong passwords.",
        "Users, hashes, permissions and signatures came along. Tokens are ours, and cannot be taken "
        "back. A limit "
        "of wrong passwords would be chosen: django-axes.",
        "django",
        ("tokens.py",),
        ("tokens.py",),
    ),
    Concern(
        "Admin",
        "None. Flask-Admin would be the choice.",
        "Came along: list, search, filters, forms, history, rights. It is what Django is chosen for.",
        "django",
        (),
        ("admin.py",),
    ),
    Concern(
        "OpenAPI",
        "Ours, made from the routes and Pydantic's models. APIFlask or flask-smorest would do it for you.",
        "None. It comes with Ninja, or with drf-spectacular beside REST framework.",
        "flask",
        ("document.py",),
        (),
    ),
    Concern(
        "Settings and start",
        "An app is an object; two settings. More than one in a process is nothing special.",
        "A module that the environment names; most of it lists what came along. One project in a process.",
        "flask",
        ("__init__.py",),
        ("__init__.py", "__main__.py", "settings.py", "data.py"),
    ),
    Concern(
        "Forms and pages",
        "Jinja2 came along. Forms and their protection would be chosen: Flask-WTF.",
        "Templates, forms and protection against forgery came along. Templates call no functions with "
        "arguments.",
        "django",
    ),
    Concern(
        "Async",
        "Async views run on Bridge's loop, in the same app; SQLAlchemy has an async session.",
        "Async views run on the loop under ASGI; here, under WSGI, in a thread. The ORM's async methods use "
        "threads, and know no transactions.",
    ),
    Concern(
        "Uploads without a length",
        "Read while they arrive, as Bridge says that they end (wsgi.input_terminated).",
        "Django's WSGI handler takes a body without Content-Length, as with chunked encoding, for an "
        "empty one.",
        "flask",
    ),
    Concern(
        "This page",
        "",
        "It is in the count, too.",
        "",
        (),
        ("comparison.py", "lines.py", "side_by_side.py"),
    ),
)
