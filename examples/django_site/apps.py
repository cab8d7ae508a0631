"""The site's app. It imports the tasks, so that workers find them by their names."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class SiteConfig(AppConfig):
    name = "examples.django_site"

    def ready(self) -> None:
        autodiscover_modules("tasks")
