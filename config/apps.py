from django.apps import AppConfig


class HouseConfig(AppConfig):
    name = "config"
    label = "house"

    def ready(self) -> None:
        """Every process, the web's threads too, sends its wake-ups through our Celery app."""
        from config.celery import app

        app.set_default()
