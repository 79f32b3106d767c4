"""What Django is to know: of its some two hundred settings those whose default would not do."""

import os

from demos.django_side import data

SECRET_KEY = data.secret_key()
ALLOWED_HOSTS = os.environ.get("DJANGO_SIDE_HOSTS", ".localhost,127.0.0.1,[::1]").split(",")
ROOT_URLCONF = "demos.django_side.urls"
APPEND_SLASH = False  # an address is right or it is not, as in the Flask app
USE_TZ = True
# Django has the whole process keep this time, the gallery's other demos, too; its own default is Chicago's.
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "demos.django_side",
    # The admin, and what it needs. Without it, auth and contenttypes would do.
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",  # ETag, If-None-Match and 304, for every GET
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",  # without it nobody looks at ALLOWED_HOSTS
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
X_FRAME_OPTIONS = "SAMEORIGIN"  # a gallery of demos shows it in a frame; nobody else may
STATIC_URL = "static/"  # relative: below wherever the app is mounted

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": data.database(),
        "OPTIONS": {
            "timeout": 10,  # seconds to wait for another writer
            "init_command": "PRAGMA journal_mode = WAL",  # readers do not wait for the writer
            "transaction_mode": "IMMEDIATE",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024  # bytes

# Of its own, for other apps may be served under the same host name.
SESSION_COOKIE_NAME = "django_side_session"
CSRF_COOKIE_NAME = "django_side_csrf"

# Without this, errors are mailed to ADMINS, of whom there are none, and written nowhere.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "ERROR", "propagate": False}},
}
