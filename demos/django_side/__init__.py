"""The smallest slice of `demos/api`, once more in Django; and a page that puts both side by side.

Run it:    .venv/bin/bridge serve demos.django_side:app
Look at:   http://127.0.0.1:8000/            both, side by side: files, lines, what came, what was chosen
           http://127.0.0.1:8000/sightings   an error, of the same shape as in demos/api
           http://127.0.0.1:8000/admin/      for who has run: python -m demos.django_side createsuperuser
It shows:  Django under the same server, by the same adapter, with the same answers as the Flask app: become a
           user, log in, keep a sighting, read one, read all page by page.

The data are in the file of SQLite that DJANGO_SIDE_DATABASE names, or else in the folder for temporary files;
it is migrated when the server starts. DJANGO_SIDE_HOSTS=birds.example,… are the host names it answers to, if
not this machine's own. SECRET_KEY signs tokens and sessions; without it, a key is kept with the data.

To read, in this order: models.py, forms.py, sightings.py, people.py, problems.py, urls.py, settings.py.
"""

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from demos.django_side.data import one_at_a_time

os.environ["DJANGO_SETTINGS_MODULE"] = "demos.django_side.settings"

app = get_wsgi_application()

with one_at_a_time():  # several workers may start at once
    call_command("migrate", verbosity=0)
