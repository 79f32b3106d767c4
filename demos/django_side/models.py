"""What is kept: one table. Users are Django's own."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

WORDS = RegexValidator(
    r"^[^\x00-\x20]+( [^\x00-\x20]+)*\Z",
    "use words with one space between them, and no control characters",
)


def between(least: float, most: float) -> list[object]:
    return [MinValueValidator(least), MaxValueValidator(most)]


class Sighting(models.Model):
    """A bird that someone has seen. Columns, rules and the fields of the admin's form are made from this."""

    number = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT)
    species = models.CharField(max_length=80, db_index=True, validators=[WORDS])
    seen_on = models.DateField()
    count = models.IntegerField(default=1, blank=True, validators=between(1, 1_000_000))
    notes = models.TextField(default="", blank=True, validators=[RegexValidator(r"^[^\x00]{0,2000}\Z")])
    latitude = models.FloatField(null=True, blank=True, validators=between(-90, 90))
    longitude = models.FloatField(null=True, blank=True, validators=between(-180, 180))

    def __str__(self) -> str:
        return f"{self.count} × {self.species}, {self.seen_on}"
