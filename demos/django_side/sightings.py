"""Operations: keep a sighting, read one, read all page by page. This slice neither changes nor deletes."""

import uuid
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse

from demos.django_side.forms import read_query, read_sighting
from demos.django_side.models import Sighting
from demos.django_side.operations import Operations
from demos.django_side.problems import Problem

FILTERS = {"before": "number__lt", "species": "species", "by": "user__username"}


class Sightings(Operations):
    def get(self, request: HttpRequest) -> HttpResponse:
        """A page, newest first. The next one begins after its last, not after so many."""
        query = read_query(request.GET)
        wanted = {FILTERS[name]: value for name, value in query.items() if name in FILTERS}
        ordered = Sighting.objects.filter(**wanted).select_related("user").order_by("-number")
        found = list(ordered[: query["limit"] + 1])
        page, more = found[: query["limit"]], len(found) > query["limit"]
        following = reverse("sightings", query=query | {"before": page[-1].number}) if more else None
        return JsonResponse({"items": [to_json(sighting) for sighting in page], "next": following})


class OneSighting(Operations):
    def get(self, request: HttpRequest, sighting_id: uuid.UUID) -> HttpResponse:
        kept = find(sighting_id)
        if kept is None:
            raise Problem(404, "There is no sighting with that id.")
        return JsonResponse(to_json(kept))

    def put(self, request: HttpRequest, sighting_id: uuid.UUID) -> HttpResponse:
        """Keep it under an id that the client has made. To send the same again does no harm."""
        sent = read_sighting(request)
        kept = find(sighting_id)
        if kept is None:
            return create(sent, sighting_id, request)
        if kept.user != request.user:
            raise Problem(403, "This sighting belongs to somebody else. Only that user may change it.")
        if not is_same(sent, kept):
            raise Problem(
                428, "There is another of yours under this id, and this slice of the API changes none."
            )
        return JsonResponse(to_json(kept))


def create(sighting: Sighting, sighting_id: uuid.UUID, request: HttpRequest) -> HttpResponse:
    if "If-Match" in request.headers:
        raise Problem(412, "There is no sighting under this id, or it was deleted.")
    sighting.id, sighting.user = sighting_id, request.user
    try:
        with transaction.atomic():
            sighting.save(force_insert=True)
    except IntegrityError:
        raise Problem(409, "Another request is creating it at this moment. Send yours again.") from None
    location = reverse("sighting", args=[sighting_id])
    return JsonResponse(to_json(sighting), status=201, headers={"Location": location})


def find(sighting_id: uuid.UUID) -> Sighting | None:
    found: Sighting | None = Sighting.objects.select_related("user").filter(id=sighting_id).first()
    return found


def is_same(sent: Sighting, kept: Sighting) -> bool:
    names = ("species", "seen_on", "count", "notes", "latitude", "longitude")
    return all(getattr(sent, name) == getattr(kept, name) for name in names)


def to_json(sighting: Sighting) -> dict[str, Any]:
    place = None
    if sighting.latitude is not None:
        place = {"latitude": sighting.latitude, "longitude": sighting.longitude}
    return {
        "id": sighting.id,
        "number": sighting.number,
        "by": sighting.user.username,
        "species": sighting.species,
        "seen_on": sighting.seen_on,
        "count": sighting.count,
        "notes": sighting.notes,
        "place": place,
    }
