"""The Celery application of one site, for ``celery -A workers.app``; settings from ``FLEET_*``."""

from fleet import wakeups
from fleet.settings import SiteSettings
from workers import tasks

settings = SiteSettings()
app = wakeups.make_app("workers", settings.broker_url)
tasks.register(app, settings)
