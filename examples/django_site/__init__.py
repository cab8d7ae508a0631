"""A site made with Django whose tasks are run by shardq: each account's payments are booked one after the other.

    export DJANGO_SETTINGS_MODULE=examples.django_site.settings
    python -m django migrate --run-syncdb
    python -m shardq.supervise examples.django_site.jobs --preload examples.django_site.wsgi --url shm://site
    gunicorn examples.django_site.wsgi

`backend.py` and `jobs.py` are what a site of your own needs: a backend of Django's Tasks framework, and the handler
that runs the tasks. `framework.py` finds the framework in Django 6, and in the package `django-tasks` before that.
"""
