"""Settings of the site. `SITE_DATABASE` is the path of its SQLite file, `SITE_QUEUE` the URL of its shardq storage."""

from __future__ import annotations

import os

import django

ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "examples.django_site.views"
INSTALLED_APPS = ["examples.django_site", *([] if django.VERSION >= (6, 0) else ["django_tasks"])]
MIDDLEWARE: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
# This site signs nothing. One that does has a secret here.
SECRET_KEY = "unused"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SITE_DATABASE", "site.sqlite3"),
        # Several processes write, and wait for one another.
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
TASKS = {
    "default": {
        "BACKEND": "examples.django_site.backend.ShardqBackend",
        "OPTIONS": {"url": os.environ.get("SITE_QUEUE", "shm://site")},
    }
}
