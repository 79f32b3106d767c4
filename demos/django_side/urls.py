"""Addresses, and who answers them."""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import converters, path, register_converter

from demos.django_side.people import Tokens, Users
from demos.django_side.side_by_side import side_by_side
from demos.django_side.sightings import OneSighting, Sightings


class AnyCaseUUID(converters.UUIDConverter):
    """Django's own knows none in capitals, as iPhones write them."""

    regex = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


register_converter(AnyCaseUUID, "id")

urlpatterns = [
    path("", side_by_side),
    path("users", Users.as_view()),
    path("tokens", Tokens.as_view()),
    path("sightings", Sightings.as_view(), name="sightings"),
    path("sightings/<id:sighting_id>", OneSighting.as_view(), name="sighting"),
    path("admin/", admin.site.urls),
    # The admin's own styles. Django refuses to serve files outside of debug mode, unless one insists; where
    # there are many, whitenoise or a proxy does it.
    path("static/<path:path>", serve, {"insecure": True}),
]

handler400 = "demos.django_side.problems.bad_request"
handler404 = "demos.django_side.problems.not_found"
handler500 = "demos.django_side.problems.server_error"
