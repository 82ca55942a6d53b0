"""Run a site's seeder with settings from the environment: ``python -m workers.seeder``."""

from fleet.settings import SiteSettings
from workers.seeder.daemon import main

main(SiteSettings())
