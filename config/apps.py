from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class HouseConfig(AppConfig):
    name = "config"
    label = "house"

    def ready(self) -> None:
        """Every process, the web's threads too, sends its wake-ups through our Celery app."""
        from config.celery import app

        app.set_default()


class SiteConfig(AdminConfig):
    default_site = "core.site.Site"
