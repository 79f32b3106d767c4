"""The admin: these lines are a list with search and filters, a form with validation, and a history."""

from django.contrib import admin

from demos.django_side.models import Sighting


@admin.register(Sighting)
class SightingAdmin(admin.ModelAdmin):
    list_display = ("species", "count", "seen_on", "user")
    list_filter = ("seen_on",)
    search_fields = ("species", "notes")
    readonly_fields = ("number",)
