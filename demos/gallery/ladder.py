"""The text of the gallery: the layers, and the rungs that climb them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One layer of the stack; `key` names its colour in gallery.css."""

    key: str
    name: str
    does: str


LAYERS = (
    Layer(
        "asgi",
        "ASGI",
        "The server reads HTTP from the socket. It calls the app with a dict, the scope, and two functions: "
        "receive, for the body of the request, and send, for the response.",
    ),
    Layer(
        "runner",
        "runner",
        "Bridge takes a thread for a plain view, which may block as long as it likes. An async view runs on "
        "the server's own event loop.",
    ),
    Layer(
        "environ",
        "environ",
        "Bridge translates the scope into the dict that WSGI expects: REQUEST_METHOD, PATH_INFO, "
        "HTTP_ACCEPT and so on.",
    ),
    Layer(
        "wsgi",
        "WSGI",
        "One call, app(environ, start_response). It returns the body, piece by piece.",
    ),
    Layer(
        "werkzeug",
        "Werkzeug",
        "Turns the dict into a Request object, and finds the route that matches its path.",
    ),
    Layer(
        "flask",
        "Flask",
        "Makes request and session available, runs your before_request and after_request functions, and "
        "calls the view.",
    ),
    Layer(
        "view",
        "Your view",
        "Your function. It looks at the request and returns the response.",
    ),
    Layer(
        "jinja2",
        "Jinja2",
        "Fills in a template with the values from the view, and escapes them for HTML.",
    ),
)


@dataclass(frozen=True)
class Try:
    """Something to try: a link, by its path below the demo, or a command; {address} is the demo's own."""

    does: str
    path: str = ""
    command: str = ""


@dataclass(frozen=True)
class Rung:
    """A demo.

    Args:
        app: as `bridge serve` is told.
        name: it is mounted at /demos/<name>/.
        level: what one should know before: "beginner", "practice" or "advanced".
        minutes: to try it and to read it, about.
        options: what `bridge serve` is told after the app.
        largest_body: that it may be sent, in bytes.
    """

    app: str
    name: str
    title: str
    teaches: str
    tries: tuple[Try, ...]
    level: str = "beginner"
    minutes: int = 5
    options: str = ""
    begins: str = ""
    largest_body: int = 1 << 20

    @property
    def module(self) -> str:
        return self.app.partition(":")[0]


LADDER = (
    Rung(
        app="demos.hello:app",
        name="hello",
        title="Hello, World",
        teaches="The smallest Flask app there is: an app object, and a function for one address. It knows "
        "nothing of the server; any other would do as well.",
        minutes=2,
        tries=(
            Try("The greeting", "./"),
            Try("A page that is not there: Flask answers 404 by itself", "nowhere"),
        ),
    ),
    Rung(
        app="demos.debugging:app",
        name="debugging",
        title="Find the mistake",
        teaches="The development server starts the app anew when you save a file, and the debugger makes a "
        "page of an exception: the traceback, with a Python console in each frame. This app has a "
        "mistake on purpose, for you to find and to mend.",
        options="--debug",
        minutes=10,
        tries=(
            Try("The steps, with a picture of the debugger", "./"),
            Try("The mistake, as visitors of a server see it: the debugger is off here", "bill"),
        ),
    ),
    Rung(
        app="demos.guestbook.template:app",
        name="guestbook_template",
        title="A guestbook: a template",
        teaches="The HTML gets a file of its own, a template. The view passes values to it, and Jinja2 writes"
        " them into the page, escaped, so that what looks like HTML stays text.",
        tries=(Try("The page; one entry looks like HTML", "./"),),
    ),
    Rung(
        app="demos.guestbook.form:app",
        name="guestbook_form",
        title="A guestbook: a form",
        teaches="Visitors sign. A second view takes what the form sends, checks it, and redirects to the "
        "page, so that a reload does not send it twice.",
        tries=(Try("Sign; then send a name that is only a space, and see what is kept", "./"),),
    ),
    Rung(
        app="demos.guestbook.extension:app",
        name="guestbook_extension",
        title="A guestbook: an extension",
        teaches="Flask-WTF takes the form over: a class names the fields and what they accept. It adds a "
        "token that no other site knows, so no other site can send the form. The token belongs to the"
        " session, a cookie that Flask signs.",
        tries=(
            Try("Sign; each mistake now stands beside its field", "./"),
            Try("A form without the token is refused", command="curl -i -d name=Eve -d text=Hello {address}"),
        ),
    ),
    Rung(
        app="demos.guestbook.database:app",
        name="guestbook_database",
        title="A guestbook: a database",
        teaches="The entries go into SQLite, a database in one file, and outlive the server. Each request "
        "opens a connection when it needs one, and Flask closes it at the end. All of it is still one"
        " Python file.",
        tries=(Try("Sign; the entry is there in the next step, too", "./"),),
    ),
    Rung(
        app="demos.guestbook.package:create_app()",
        name="guestbook_package",
        title="A guestbook: several files",
        teaches="Nothing new to see, but the one file is now several: a factory makes the app, a blueprint "
        "holds the views, and form, database, page frame and style have files of their own. This is "
        "how a Flask app grows.",
        minutes=10,
        tries=(Try("The same guestbook, with the same entries", "./"),),
    ),
    Rung(
        app="demos.wsgi_hello:app",
        name="wsgi_hello",
        title="One page, three times",
        teaches="First as a bare function that a WSGI server calls, with everything done by hand. Then with "
        "Werkzeug, which reads requests and matches addresses; then in Flask, which calls your "
        "functions. The pages are the same: what is less each time is the code.",
        level="practice",
        minutes=15,
        tries=(
            Try("WSGI alone", "bare/"),
            Try("With Werkzeug", "werkzeug/"),
            Try("In Flask", "flask/"),
            Try("OPTIONS, which Flask alone answers", command="curl -i -X OPTIONS {address}flask/"),
        ),
    ),
    Rung(
        app="demos.site:app",
        name="site",
        title="A website",
        teaches="What is on at a village's library. Templates share one frame, the pages' styles are files "
        "that the browser keeps, and a form says what is wrong before anything is stored. Dates and "
        "words follow the visitor's language.",
        level="practice",
        minutes=30,
        tries=(
            Try("What is on; change the language, and the dates change", "./"),
            Try("Announce something; give it a date that is past", "announce"),
            Try("A page that is not there", "nowhere"),
        ),
    ),
    Rung(
        app="demos.api:app",
        name="api",
        title="A REST API",
        teaches="The same ideas for programs instead of people: bird watchers keep their sightings. What "
        "comes in is checked against a model, and the same model writes the document. Every error has"
        " the same shape, and two who change one thing at once do not overwrite each other.",
        begins="docs",
        level="practice",
        minutes=45,
        tries=(
            Try("Every operation, to read and to try", "docs"),
            Try("A phone app that calls them, with what it sends beside it", "phone"),
            Try("The same for programs", "openapi.json"),
            Try("An error, as all of them look", "sightings"),
        ),
    ),
    Rung(
        app="demos.portal:create_app()",
        name="portal",
        title="An app that has grown",
        teaches="A rowing club's portal: members book boats, stewards approve, admins see to the rest. A "
        "factory makes the app out of blueprints and extensions, so that each part can be read by "
        "itself. Long work is left to a worker, and its progress is shown while it goes on.",
        level="advanced",
        minutes=90,
        tries=(
            Try("The front page, with three accounts to log in with", "./"),
            Try("A report, with its progress; log in first", "reports/"),
            Try("The pages for admins; log in as a member, and you are refused", "admin/members"),
        ),
    ),
    Rung(
        app="demos.streaming:app",
        name="streaming",
        title="Streaming",
        teaches="A view may return a generator: each piece leaves when it is made, so that a large answer "
        "needs no large memory. A slow client holds the generator back, and one that leaves ends it. "
        "An upload is read in pieces, too.",
        begins="upload",
        level="practice",
        minutes=10,
        tries=(
            Try("An upload with its progress, and a clock by server-sent events", "upload"),
            Try("A page that grows while it loads", "./"),
            Try("A CSV file of 1000 rows", "export?rows=1000"),
            Try("The events as they are", command="curl -N {address}events"),
        ),
        largest_body=64 << 20,
    ),
    Rung(
        app="demos.async_views:app",
        name="async_views",
        title="Async views",
        teaches="Where a view mostly waits for others, it need not hold a thread: declared async, it runs on "
        "the server's own event loop, in Flask as it is. Ten slow answers fetched at once take the "
        "time of one.",
        level="advanced",
        minutes=10,
        tries=(
            Try("A clock, by server-sent events", "./"),
            Try("Ten slow answers, at once", "fan-out"),
            Try("A plain view that uses the same client", "legacy"),
            Try("Words that come one by one", "tokens?prompt=why+is+the+sky+blue"),
        ),
    ),
    Rung(
        app="demos.chat:app",
        name="chat",
        title="A chat room, twice",
        teaches="A websocket stays open, and both sides may speak. Flask-Sock gives each visitor a thread; "
        "the async handler shares the loop. Open this page in two windows and talk to yourself: it is"
        " one room.",
        level="advanced",
        minutes=15,
        tries=(Try("On the loop", "loop"), Try("In a thread", "threads")),
    ),
    Rung(
        app="demos.mounted:app",
        name="mounted",
        title="Flask inside FastAPI",
        teaches="How an old app is moved to a new framework without a day on which everything changes. "
        "FastAPI's routes come first, and what it does not have yet falls through to Flask. Both "
        "share one service, one lifespan and one session.",
        level="advanced",
        minutes=20,
        tries=(
            Try("A page of Flask's, as before", "./"),
            Try("A page of FastAPI's: who answers what", "moved"),
            Try("The whole Flask app once more, at a prefix", "old/"),
            Try("The header X-Answered-By", command="curl -i {address}api/notes"),
        ),
    ),
    Rung(
        app="demos.django_side:app",
        name="django_side",
        title="The same in Django",
        teaches="The smallest slice of the API once more, in another framework, under the same server and by "
        "the same adapter: WSGI is all that Bridge asks for. A page puts both side by side, file by "
        "file.",
        level="advanced",
        minutes=20,
        tries=(
            Try("Both, side by side", "./"),
            Try("An error, of the same shape as the API's", "sightings"),
        ),
    ),
)


@dataclass(frozen=True)
class Extension:
    """A package that the demos use beside Flask; `file` is where to look, from the root of the repository."""

    name: str
    does: str
    file: str


EXTENSIONS = (
    Extension(
        "Flask-WTF",
        "forms: their fields, their checks, and a token against forged ones",
        "demos/guestbook/extension/__init__.py",
    ),
    Extension(
        "Flask-Babel", "languages: texts and dates as the visitor reads them", "demos/site/languages.py"
    ),
    Extension(
        "Flask-SQLAlchemy",
        "a database: the engine, and a session for each request",
        "demos/portal/extensions.py",
    ),
    Extension("Flask-Migrate", "changes to the tables, version by version", "demos/portal/extensions.py"),
    Extension("Flask-Login", "log-ins: who makes this request", "demos/portal/security.py"),
    Extension("Flask-Sock", "websockets, in a thread each", "demos/chat.py"),
    Extension(
        "Bridge",
        "async views, events and websockets on the server's loop, and work after the response",
        "demos/async_views.py",
    ),
    Extension("SQLAlchemy", "a database without an extension", "demos/api/models.py"),
    Extension("Alembic", "changes to its tables, version by version", "demos/api/migrations/env.py"),
    Extension("Pydantic", "checks of JSON, and its documentation, from one model", "demos/api/schemas.py"),
)
