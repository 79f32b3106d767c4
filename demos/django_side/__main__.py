"""Django's commands, what elsewhere is manage.py: `python -m demos.django_side createsuperuser`."""

from django.core.management import execute_from_command_line

execute_from_command_line()
